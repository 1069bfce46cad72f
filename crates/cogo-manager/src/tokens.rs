//! Tokens: who may do what. Only hashes are kept.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cogo_store::{Change, Scope, Store, StoreError, TokenRecord};
use sha2::{Digest, Sha256};

use crate::{clock, stored};

/// What every token starts with, so that scanners for leaked secrets know it.
const PREFIX: &str = "cogo_";

/// Who asks, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The token's name, or `local`.
    pub(crate) name: String,
    scopes: Vec<Scope>,
}

impl Caller {
    /// Someone on this host, when there are no tokens.
    pub(crate) fn local() -> Self {
        Self {
            name: "local".to_owned(),
            scopes: vec![Scope::Admin, Scope::WorkerJoin],
        }
    }

    /// Whether the caller may do what this scope stands for. Who may change everything may also
    /// see and submit.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        let implied = match scope {
            Scope::Submit | Scope::Read => self.scopes.contains(&Scope::Admin),
            Scope::Admin | Scope::WorkerJoin => false,
        };
        implied || self.scopes.contains(&scope)
    }

    /// Whether the caller may look at a task of this submitter's.
    pub(crate) fn may_see(&self, submitter: &str) -> bool {
        self.may(Scope::Read) || self.may_change(submitter)
    }

    /// Whether the caller may feed and end a task of this submitter's.
    pub(crate) fn may_change(&self, submitter: &str) -> bool {
        self.may(Scope::Admin) || self.may(Scope::Submit) && self.name == submitter
    }
}

/// A text that opens doors. It is shown once and never kept.
pub struct Token(String);

impl Token {
    /// Makes a token of 256 random bits.
    ///
    /// # Errors
    ///
    /// Fails when the kernel gives no randomness.
    pub fn generate() -> std::io::Result<Self> {
        let mut bytes = [0_u8; 32];
        fill_random(&mut bytes)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn record(
        &self,
        name: String,
        scopes: Vec<Scope>,
        expires_at_ms: Option<u64>,
    ) -> TokenRecord {
        TokenRecord {
            name,
            sha256: hash(&self.0),
            scopes,
            created_at_ms: clock::unix_ms(),
            expires_at_ms,
        }
    }
}

/// Fills all of it with random bytes.
pub(crate) fn fill_random(mut bytes: &mut [u8]) -> std::io::Result<()> {
    use rustix::rand::{GetRandomFlags, getrandom};
    while !bytes.is_empty() {
        let got = rustix::io::retry_on_intr(|| getrandom(&mut *bytes, GetRandomFlags::empty()))?;
        bytes = &mut bytes[got..];
    }
    Ok(())
}

/// What a token is known by.
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The tokens that open something now.
pub(crate) struct Tokens {
    store: Arc<dyn Store>,
    /// For the local workers; lives as long as the manager's state, and is not listed.
    own: Option<TokenRecord>,
    known: RwLock<HashMap<[u8; 32], TokenRecord>>,
}

/// Why a request has no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoCaller {
    /// There are tokens, and the request brought none.
    Missing,
    /// The token is not known, or not any more.
    Unknown,
}

impl Tokens {
    pub(crate) fn load(
        store: Arc<dyn Store>,
        own: Option<TokenRecord>,
    ) -> Result<Self, StoreError> {
        let records = store.tokens()?;
        let known = records.into_iter().map(|record| (record.sha256, record));
        Ok(Self {
            known: RwLock::new(known.collect()),
            own,
            store,
        })
    }

    /// Whether there is no token, so that only this host is let in, without one.
    pub(crate) fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// Who a request comes from. `None` for the token stands for a request without one.
    pub(crate) fn caller(&self, token: Option<&str>) -> Result<Caller, NoCaller> {
        let Some(token) = token else {
            return if self.is_empty() {
                Ok(Caller::local())
            } else {
                Err(NoCaller::Missing)
            };
        };
        let sha256 = hash(token);
        let known = self.read();
        let record = known
            .get(&sha256)
            .or_else(|| self.own.as_ref().filter(|own| own.sha256 == sha256))
            .ok_or(NoCaller::Unknown)?;
        if record
            .expires_at_ms
            .is_some_and(|at| at <= clock::unix_ms())
        {
            return Err(NoCaller::Unknown);
        }
        Ok(Caller {
            name: record.name.clone(),
            scopes: record.scopes.clone(),
        })
    }

    /// All tokens, by name.
    pub(crate) fn list(&self) -> Vec<TokenRecord> {
        let mut records: Vec<TokenRecord> = self.read().values().cloned().collect();
        records.sort_by(|a, b| a.name.cmp(&b.name));
        records
    }

    /// Adds a token. Returns whether its name was free.
    pub(crate) async fn add(&self, record: TokenRecord) -> Result<bool, StoreError> {
        if self.list().iter().any(|known| known.name == record.name) {
            return Ok(false);
        }
        let change = Change::TokenPut(Box::new(record.clone()));
        stored::commit(self.store.as_ref(), change).await?;
        self.write().insert(record.sha256, record);
        Ok(true)
    }

    /// Takes a token back. Returns whether there was one.
    pub(crate) async fn revoke(&self, name: &str) -> Result<bool, StoreError> {
        // First in memory: from here on it opens nothing.
        let before = self.read().len();
        self.write().retain(|_, record| record.name != name);
        if self.read().len() == before {
            return Ok(false);
        }
        let change = Change::TokenDelete(name.to_owned());
        stored::commit(self.store.as_ref(), change).await?;
        Ok(true)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<[u8; 32], TokenRecord>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<[u8; 32], TokenRecord>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_random_and_kept_as_hash() {
        let (one, two) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_ne!(one.reveal(), two.reveal());
        assert_eq!(one.reveal().len(), PREFIX.len() + 43);
        let record = one.record("ci".into(), vec![Scope::Submit], None);
        assert_eq!(record.sha256, hash(one.reveal()));
    }

    #[test]
    fn admin_may_submit_and_see_but_not_join() {
        let caller = |scopes: &[Scope]| Caller {
            name: "x".into(),
            scopes: scopes.to_vec(),
        };
        let admin = caller(&[Scope::Admin]);
        assert!(admin.may(Scope::Submit) && admin.may(Scope::Read));
        assert!(!admin.may(Scope::WorkerJoin));
        assert!(admin.may_change("y") && admin.may_see("y"));
        let submit = caller(&[Scope::Submit]);
        assert!(submit.may_change("x") && submit.may_see("x"));
        assert!(!submit.may_change("y") && !submit.may_see("y"));
        let read = caller(&[Scope::Read]);
        assert!(read.may_see("y") && !read.may_change("x"));
    }
}
