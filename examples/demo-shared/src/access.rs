//! Who may do what: a token for programs, and tickets for browsers' `EventSource`, which cannot send
//! it.

use std::io;
use std::sync::Arc;

use fanfare::tickets::{self, same, Grant, IssueError, Refused, SigningKey, Ticket, Tickets};
use fanfare::Topics;
use serde_json::json;

use crate::{Flags, Reply};

/// The ticket in a request's address, if there is one. Each framework's demo takes it from there
/// before anything can log the address.
pub type Presented = Result<Option<Ticket>, Refused>;

/// What a request shows of who sends it.
#[derive(Debug)]
pub struct Credentials {
    token: Option<Token>,
    ticket: Presented,
}

impl Credentials {
    /// Of a request with this header `Authorization` and this ticket.
    #[must_use]
    pub fn new(authorization: Option<&[u8]>, ticket: Presented) -> Self {
        Self {
            token: authorization.and_then(bearer),
            ticket,
        }
    }
}

/// A secret. It can neither be displayed nor debugged.
#[derive(Clone)]
pub struct Token(Vec<u8>);

impl From<&str> for Token {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

#[cfg(feature = "redis")]
impl Token {
    /// The key that every process with this token and this stream signs tickets with.
    ///
    /// With a ticket at hand, somebody can try whether a token is the one. So this is for tokens that
    /// nobody can guess.
    fn signing_key(&self, stream: &str) -> io::Result<SigningKey> {
        use hmac::{Hmac, Mac};

        let mac = Hmac::<sha2::Sha256>::new_from_slice(&self.0).map_err(io::Error::other)?;
        let mac = mac
            .chain_update(b"the demo's tickets, ")
            .chain_update(stream);
        let key = mac.finalize();
        SigningKey::new(key.into_bytes()).map_err(io::Error::other)
    }
}

/// What `Authorization: Bearer ...` shows.
fn bearer(authorization: &[u8]) -> Option<Token> {
    let (scheme, token) = authorization.split_at_checked(b"bearer ".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    is_bearer.then(|| Token(token.trim_ascii().into()))
}

/// Decides. Without a token everybody may do everything, and tickets work all the same.
#[derive(Clone, Debug)]
pub(crate) struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    token: Option<Token>,
    tickets: Tickets,
}

impl Access {
    /// Access as the flags say.
    pub(crate) fn of(flags: &Flags) -> io::Result<Self> {
        let tickets = tickets_of(flags)?.lifetime(flags.ticket_lifetime());
        Ok(Self::new(flags.token().cloned(), tickets.build()))
    }

    /// Access for everybody.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self::new(None, Tickets::new(SigningKey::random()?)))
    }

    fn new(token: Option<Token>, tickets: Tickets) -> Self {
        Self(Arc::new(Inner { token, tickets }))
    }

    pub(crate) fn needs_token(&self) -> bool {
        self.0.token.is_some()
    }

    /// Lets through who shows the token, if there is one.
    pub(crate) fn check_token(&self, credentials: &Credentials) -> Result<(), Reply> {
        let Some(expected) = &self.0.token else {
            return Ok(());
        };
        match &credentials.token {
            Some(token) if same(&token.0, &expected.0) => Ok(()),
            Some(_) => Err(refuse("the token is wrong")),
            None => Err(refuse("there is no token")),
        }
    }

    /// Lets through who shows a ticket for these topics, or else the token. Whoever shows a ticket is
    /// held to it.
    pub(crate) async fn check(
        &self,
        credentials: &Credentials,
        topics: &Topics,
    ) -> Result<Option<Grant>, Reply> {
        match &credentials.ticket {
            Ok(None) => self.check_token(credentials).map(|()| None),
            Ok(Some(ticket)) => {
                let redeemed = self.0.tickets.redeem(ticket.as_str(), topics).await;
                redeemed.map(Some).map_err(refuse)
            }
            Err(refused) => Err(refuse(refused)),
        }
    }

    /// A ticket for a client and these topics.
    pub(crate) fn issue(&self, client: &str, topics: Topics) -> Result<Reply, Reply> {
        let tickets = &self.0.tickets;
        let ticket = tickets.issue(client, topics).map_err(|error| {
            let status = match error {
                IssueError::NoRandomness(_) => 500,
                _ => 400,
            };
            Reply::error(status, error)
        })?;
        let expires_in = tickets.lifetime().as_secs_f64();
        let ticket = json!({ "ticket": ticket.as_str(), "expires_in": expires_in });
        Ok(Reply::new(200, ticket))
    }
}

/// Tickets of this process alone, whose key is random; or of all that share a stream in Redis and a token.
#[cfg_attr(not(feature = "redis"), allow(unused_variables))]
fn tickets_of(flags: &Flags) -> io::Result<tickets::Builder> {
    #[cfg(feature = "redis")]
    if let (Some((url, stream)), Some(token)) = (flags.redis(), flags.token()) {
        let key = token.signing_key(stream)?;
        let uses = fanfare::redis::RedisUses::builder(url).stream(stream);
        let uses = uses.build_uses().map_err(io::Error::other)?;
        return Ok(Tickets::builder(key).uses(uses));
    }
    Ok(Tickets::builder(SigningKey::random()?))
}

/// The reason is for the log alone: who is refused is told the same, whatever it was.
fn refuse(why: impl std::fmt::Display) -> Reply {
    tracing::info!("a request was refused: {why}");
    Reply::unauthorized()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_its_header() {
        for (header, expect) in [
            ("Bearer s3cret", Some("s3cret")),
            ("bearer  s3cret ", Some("s3cret")),
            ("Bearer ", Some("")),
            ("Bearer", None),
            ("Basic s3cret", None),
            ("s3cret", None),
            ("", None),
        ] {
            let token = bearer(header.as_bytes()).map(|token| token.0);
            assert_eq!(token.as_deref(), expect.map(str::as_bytes), "{header:?}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let credentials = Credentials::new(Some(b"Bearer s3cret"), Ok(None));
        assert!(!format!("{credentials:?}").contains("s3cret"));
    }
}
