//! Who calls, and what they may do.
//!
//! Law: without a users file everybody may do everything, and then only loopback is listened on; with one, nobody is anybody
//! without their password. Passwords are compared as hashes, in the same time whatever they are. Called by `calls`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;
use headers::authorization::Basic;
use headers::{Authorization, HeaderMapExt as _};
use http::HeaderMap;
use sha2::{Digest as _, Sha256};
use tonic::Status;

use super::status::{access_denied, unknown_caller};

/// What a caller may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Read, subscribe and consume.
    Read,
    /// Append and delete.
    Write,
    /// Everything: make, change and delete persistent subscriptions too.
    Admin,
}

/// Why a users file is not used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("the users file {path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others than its owner can read it.
    #[error("the users file {path} can be read by others: chmod 600 it")]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// A line is none.
    #[error("{path}:{line}: is not user:role:password with role read, write or admin")]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
}

type Hash = [u8; 32];

/// Those who may call.
#[derive(Debug)]
pub(super) enum Access {
    /// Anybody, anything.
    Free,
    /// These, by the hash of `user:password`.
    Known(HashMap<Hash, Role>),
}

fn hash(user: &str, password: &str) -> Hash {
    // A user has no colon, so that no two pairs are one.
    Sha256::digest(format!("{user}:{password}")).into()
}

fn role(name: &str) -> Option<Role> {
    match name {
        "read" => Some(Role::Read),
        "write" => Some(Role::Write),
        "admin" => Some(Role::Admin),
        _ => None,
    }
}

impl Access {
    /// Reads a users file; none: everybody may everything.
    pub(super) fn load(file: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = file else { return Ok(Self::Free) };
        let failed = |source| Error::Read { path: path.to_path_buf(), source };
        if fs::metadata(path).map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(Error::Open { path: path.to_path_buf() });
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        let wrong = |line| Error::Line { path: path.to_path_buf(), line };
        let mut known = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let mut parts = line.splitn(3, ':');
            let (Some(user), Some(role), Some(password)) =
                (parts.next(), parts.next().and_then(role), parts.next())
            else {
                return Err(wrong(number + 1));
            };
            if user.is_empty() || password.is_empty() {
                return Err(wrong(number + 1));
            }
            known.insert(hash(user, password), role);
        }
        Ok(Self::Known(known))
    }

    /// Lets a call through, or says why not.
    pub(super) fn check(&self, headers: &HeaderMap, needed: Role) -> Result<(), Status> {
        let Self::Known(known) = self else { return Ok(()) };
        let Authorization(given) = headers.typed_get::<Authorization<Basic>>().ok_or_else(unknown_caller)?;
        // What is looked up is a hash: how long that takes says nothing about a password.
        match known.get(&hash(given.username(), given.password())) {
            None => Err(unknown_caller()),
            Some(role) if *role < needed => Err(access_denied()),
            Some(_) => Ok(()),
        }
    }

    /// Who makes a call that was let through; empty where everybody may everything.
    pub(super) fn user(&self, headers: &HeaderMap) -> String {
        let given = match self {
            Self::Free => None,
            Self::Known(_) => headers.typed_get::<Authorization<Basic>>(),
        };
        given.map(|Authorization(given)| given.username().to_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::AUTHORIZATION;
    use tonic::Code;

    use super::*;

    fn access(text: &str, mode: u32) -> Result<Access, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Access::load(Some(&path))
    }

    fn told(access: &Access, authorization: &'static str, needed: Role) -> Option<Code> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(authorization));
        access.check(&headers, needed).err().map(|status| status.code())
    }

    #[test]
    fn each_may_do_what_their_role_says_and_no_more() {
        let access = access("# people\nann:write:pass:word\nbob:read:b\n", 0o600).unwrap();
        // ann:pass:word
        let ann = "Basic YW5uOnBhc3M6d29yZA==";
        assert_eq!(told(&access, ann, Role::Read), None);
        assert_eq!(told(&access, ann, Role::Write), None);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(ann))]);
        assert_eq!((&*access.user(&headers), &*Access::Free.user(&headers)), ("ann", ""));
        assert_eq!(told(&access, ann, Role::Admin), Some(Code::PermissionDenied));
        // bob:b
        assert_eq!(told(&access, "Basic Ym9iOmI=", Role::Write), Some(Code::PermissionDenied));
        for wrong in
            ["Basic YW5uOnBhc3M=", "Basic YW5uOg==", "Bearer YW5uOnBhc3M6d29yZA==", "Basic *", "Basic", ""]
        {
            assert_eq!(told(&access, wrong, Role::Read), Some(Code::Unauthenticated), "{wrong}");
        }
        assert!(Access::Free.check(&HeaderMap::new(), Role::Admin).is_ok());
    }

    #[test]
    fn a_users_file_that_others_read_or_that_makes_no_sense_is_refused() {
        assert!(matches!(access("a:read:b", 0o644), Err(Error::Open { .. })));
        assert!(matches!(access("a:read:b\na:reader:b", 0o600), Err(Error::Line { line: 2, .. })));
        assert!(matches!(access("a:read", 0o600), Err(Error::Line { line: 1, .. })));
        assert!(matches!(Access::load(Some(Path::new("/nowhere"))), Err(Error::Read { .. })));
    }
}
