//! [`SigningKey`], the secret that tickets are signed with.

use std::error::Error;
use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Keeps a signature of ours from being one of something else that is signed with the same key.
const PURPOSE: &[u8] = b"fanfare ticket\0";

/// How many bytes of a ticket say which key has signed it.
pub(crate) const ID_BYTES: usize = 4;

/// How many bytes a signature has.
pub(crate) const SIGNATURE_BYTES: usize = 32;

/// A secret that tickets are signed with, by HMAC-SHA-256.
///
/// Its [`Debug`](fmt::Debug) shows nothing of it. Cloning copies it.
///
/// ```
/// use fanfare_tickets::SigningKey;
///
/// let key = SigningKey::new("from the environment, say: 32 bytes of chance, or more")?;
/// assert!(SigningKey::new("too short").is_err());
/// # Ok::<(), fanfare_tickets::ShortKey>(())
/// ```
#[derive(Clone)]
pub struct SigningKey {
    id: [u8; ID_BYTES],
    mac: Hmac<Sha256>,
}

impl SigningKey {
    /// The fewest bytes that a secret has.
    pub const MIN_BYTES: usize = 32;

    /// A key of a secret: at least 32 bytes that nobody can guess, the same in every process that
    /// takes the tickets. `openssl rand -hex 32` writes one.
    ///
    /// # Errors
    ///
    /// [`ShortKey`], if there are fewer.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, ShortKey> {
        let secret = secret.as_ref();
        if secret.len() < Self::MIN_BYTES {
            return Err(ShortKey);
        }
        let mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| ShortKey)?;
        // What names the key is made of the key, so that nobody has to name it, and cannot be told
        // from chance by who does not have it.
        let name = mac.clone().chain_update(b"fanfare key name").finalize();
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&name.into_bytes()[..ID_BYTES]);
        let mac = mac.chain_update(PURPOSE);
        Ok(Self { id, mac })
    }

    /// A key of chance, for a server of one process: its tickets end with it.
    ///
    /// # Errors
    ///
    /// If the system has no random numbers.
    pub fn random() -> Result<Self, std::io::Error> {
        let mut secret = [0; Self::MIN_BYTES];
        getrandom::fill(&mut secret)?;
        Self::new(secret).map_err(std::io::Error::other)
    }

    /// Which key this is. Two keys may have the same.
    pub(crate) fn id(&self) -> [u8; ID_BYTES] {
        self.id
    }

    pub(crate) fn sign(&self, payload: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mac = self.mac.clone().chain_update(payload);
        mac.finalize().into_bytes().into()
    }

    /// In a time that does not depend on where the signature is wrong.
    pub(crate) fn verifies(&self, payload: &[u8], signature: &[u8]) -> bool {
        let mac = self.mac.clone().chain_update(payload);
        mac.verify_slice(signature).is_ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

/// The secret has fewer than [`SigningKey::MIN_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortKey;

impl fmt::Display for ShortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a signing key has at least {} bytes",
            SigningKey::MIN_BYTES
        )
    }
}

impl Error for ShortKey {}
