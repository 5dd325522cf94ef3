//! [`Builder`]: what a history in Redis is opened with, and why it is not.

use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

use fanfare_core::history::Retention;
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError,
};

use crate::connection::Connector;
use crate::RedisHistory;

/// What a [`RedisHistory`] is opened with.
#[derive(Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    url: String,
    stream: String,
    retention: Retention,
    max_topics: usize,
    connect_timeout: Duration,
    response_timeout: Duration,
    #[cfg(feature = "tls")]
    root_certificates: Option<Vec<u8>>,
}

impl Builder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            stream: "fanfare".to_owned(),
            retention: Retention::new(),
            max_topics: 100_000,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
            #[cfg(feature = "tls")]
            root_certificates: None,
        }
    }

    /// The log's name, which every key begins with; `fanfare` if not said. Processes that name the
    /// same server and the same stream share a log.
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.stream = name.into();
        self
    }

    /// How much of each topic is retained; [`Retention::new`] if not said. Processes that share a log
    /// name the same: each keeps to its own when it appends.
    pub fn retention(mut self, retention: impl Into<Retention>) -> Self {
        self.retention = retention.into();
        self
    }

    /// The most topics that may have records at once; 100,000 if not said. A topic is forgotten when
    /// age has evicted its last record and another needs the room.
    pub fn max_topics(mut self, topics: usize) -> Self {
        self.max_topics = topics;
        self
    }

    /// How long a connection may take to be made; 5 s if not said.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = at_least_a_moment(timeout);
        self
    }

    /// How long the server may take to answer; 5 s if not said. After that an append's outcome is
    /// [unknown](fanfare_core::history::HistoryError::Unknown).
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = at_least_a_moment(timeout);
        self
    }

    /// The certificates, in PEM, of the authorities that a `rediss://` server's is trusted by; the
    /// system's if not said.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates = Some(pem.into());
        self
    }

    /// Starts the history's threads, which connect by themselves. It neither blocks nor fails because
    /// the server is away.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what no server could mend.
    pub fn build(self) -> Result<RedisHistory, OpenError> {
        RedisHistory::start(self.connector()?, self.max_topics).map_err(OpenError::Io)
    }

    /// The uses of tickets instead, on the same server and under the same name. It starts a thread, and
    /// neither blocks nor fails because the server is away.
    ///
    /// # Errors
    ///
    /// The same.
    #[cfg(feature = "tickets")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tickets")))]
    pub fn build_uses(self) -> Result<crate::RedisUses, OpenError> {
        crate::RedisUses::start(self.connector()?).map_err(OpenError::Io)
    }

    fn connector(&self) -> Result<Connector, OpenError> {
        let is_name = |name: &str| !name.is_empty() && !name.contains(['{', '}']);
        if !is_name(&self.stream) {
            return Err(OpenError::InvalidStream);
        }
        let client = self.client()?;
        let timeouts = (self.connect_timeout, self.response_timeout);
        Ok(Connector::new(
            client,
            &self.stream,
            self.retention,
            timeouts,
        ))
    }

    fn client(&self) -> Result<Client, OpenError> {
        let invalid = |error: RedisError| OpenError::InvalidUrl(Box::new(error));
        let info: ConnectionInfo = self.url.as_str().into_connection_info().map_err(invalid)?;
        let info = settled(info);
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Client::open(info).map_err(invalid);
        }
        self.client_with_tls(info)
    }

    #[cfg(feature = "tls")]
    fn client_with_tls(&self, info: ConnectionInfo) -> Result<Client, OpenError> {
        use rustls::crypto::{ring, CryptoProvider};

        let invalid = |error: RedisError| OpenError::InvalidUrl(Box::new(error));
        if CryptoProvider::get_default().is_none() {
            // Fails if another thread is faster: then there is one too.
            let _ = ring::default_provider().install_default();
        }
        let certificates = redis::TlsCertificates {
            client_tls: None,
            root_cert: self.root_certificates.clone(),
        };
        Client::build_with_tls(info, certificates).map_err(invalid)
    }

    #[cfg(not(feature = "tls"))]
    #[allow(clippy::unused_self, clippy::needless_pass_by_value)]
    fn client_with_tls(&self, _: ConnectionInfo) -> Result<Client, OpenError> {
        Err(OpenError::InvalidUrl(
            "rediss:// needs the feature `tls`".into(),
        ))
    }
}

/// The same URL with what we need of a connection.
fn settled(info: ConnectionInfo) -> ConnectionInfo {
    // The client's name would be told with each connection, for nothing; and answers are taken apart
    // as the scripts' own protocol has them.
    let settings = info.redis_settings().clone();
    let settings = settings
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    // A second call is not to wait until the first is acknowledged.
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    info.set_redis_settings(settings).set_tcp_settings(tcp)
}

/// The system refuses timeouts of nothing.
fn at_least_a_moment(timeout: Duration) -> Duration {
    timeout.max(Duration::from_millis(1))
}

impl fmt::Debug for Builder {
    /// Without the URL: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("stream", &self.stream)
            .field("retention", &self.retention)
            .field("max_topics", &self.max_topics)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .finish_non_exhaustive()
    }
}

/// Why a [`RedisHistory`] could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is not one of Redis, names nothing that this build can do, or its certificates cannot
    /// be read.
    InvalidUrl(Box<dyn Error + Send + Sync>),
    /// The stream's name is empty or holds a brace.
    InvalidStream,
    /// The system refuses a thread.
    Io(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidUrl(_) => f.write_str("the URL of Redis cannot be used"),
            Self::InvalidStream => {
                f.write_str("a stream's name has at least one character, and no braces")
            }
            Self::Io(_) => f.write_str("the system refuses a thread"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InvalidUrl(error) => Some(&**error),
            Self::InvalidStream => None,
            Self::Io(error) => Some(error),
        }
    }
}
