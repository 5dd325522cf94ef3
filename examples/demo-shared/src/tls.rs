//! [`Certificate`]: self-signed and made at start, so that the demo can speak HTTPS without any
//! preparation. Browsers warn of it, rightly.

use std::fmt;
use std::io;
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::ServerConfig;

use crate::Flags;

/// A certificate and its key.
pub struct Certificate(CertifiedKey<KeyPair>);

impl fmt::Debug for Certificate {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.0.cert).finish()
    }
}

impl Certificate {
    /// A certificate for the host that the flags name, and for `localhost`.
    ///
    /// # Errors
    ///
    /// If the host is a name that cannot stand in a certificate.
    pub fn self_signed(flags: &Flags) -> io::Result<Self> {
        let (host, _) = flags.address();
        let names = [host.to_owned(), "localhost".to_owned()];
        rcgen::generate_simple_self_signed(names)
            .map(Self)
            .map_err(io::Error::other)
    }

    /// The certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.cert.pem()
    }

    /// The private key as PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.0.signing_key.serialize_pem()
    }

    /// What a server needs to offer HTTP/2, and HTTP/1.1 to those who know only that.
    ///
    /// # Errors
    ///
    /// If rustls does not take the certificate.
    pub fn server_config(&self) -> io::Result<ServerConfig> {
        let key = PrivatePkcs8KeyDer::from(self.0.signing_key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![self.0.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}
