//! Where a repository is, and what of that may be shown.

use gix::url::Scheme;

use super::{CloneError, Credentials, Login};

/// A URL without a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUrl {
    url: gix::Url,
    text: String,
}

impl RemoteUrl {
    /// Whether a text is meant as a URL rather than as a path of this machine.
    pub fn looks_like(text: &str) -> bool {
        let before_slash = text.split('/').next().unwrap_or_default();
        text.contains("://") || (before_slash.contains(':') && before_slash.contains('@'))
    }

    /// Reads a URL. A login inside of it is taken out and returned beside it.
    ///
    /// # Errors
    ///
    /// [`CloneError::Url`], in which the URL has no secret either.
    pub fn parse(text: &str) -> Result<(Self, Credentials), CloneError> {
        let refused = |reason: &str| CloneError::Url {
            url: redacted(text),
            reason: reason.to_owned(),
        };
        let mut url = gix::url::parse(text).map_err(|_| refused("it cannot be read"))?;
        match url.scheme {
            Scheme::Http | Scheme::Https | Scheme::File | Scheme::Ssh | Scheme::Git => {}
            // These run a program that the URL names.
            Scheme::Ext | Scheme::Helper(_) | Scheme::HelperUrl(_) => {
                return Err(refused("its scheme is not known"));
            }
        }
        let mut credentials = Credentials::None;
        if let Some(password) = url.password().map(str::to_owned) {
            credentials = Credentials::Login(Login::new(url.user().unwrap_or_default(), password));
            url.set_password(None);
        }
        // The user is part of an SSH address; over HTTP it is half of a login, or a token.
        if matches!(url.scheme, Scheme::Http | Scheme::Https)
            && let Some(user) = url.user().map(str::to_owned)
        {
            if credentials.is_none() {
                credentials = Credentials::Login(Login::new(&user, String::new()));
            }
            url.set_user(None);
        }
        let text = url.to_bstring().to_string();
        Ok((Self { url, text }, credentials))
    }

    /// The URL as it may be shown and stored.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What a clone of it is called.
    pub fn name(&self) -> String {
        let path = self.text.trim_end_matches('/');
        let last = path.rsplit(['/', ':']).next().unwrap_or_default();
        let last = last.strip_suffix(".git").unwrap_or(last);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name: String = last.chars().filter(|&c| plain(c)).take(64).collect();
        match name.trim_matches('.') {
            "" => "repository".to_owned(),
            name => name.to_owned(),
        }
    }

    pub(super) fn url(&self) -> &gix::Url {
        &self.url
    }

    /// Whether others on the network could read what is sent: HTTP that leaves this machine.
    pub(super) fn is_readable_on_the_way(&self) -> bool {
        let host = self.url.host().unwrap_or_default();
        let is_local = host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        self.url.scheme == Scheme::Http && !is_local
    }

    pub(super) fn is_http(&self) -> bool {
        matches!(self.url.scheme, Scheme::Http | Scheme::Https)
    }
}

/// Everything between the scheme and the last `@` before the path, gone.
fn redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match host.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{path}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_out() {
        let (url, credentials) =
            RemoteUrl::parse("https://me:s3cret@host.example/a/b.git").unwrap();
        assert_eq!(url.as_str(), "https://host.example/a/b.git");
        assert_eq!(url.name(), "b");
        assert!(!credentials.is_none());
        let shown = format!("{url:?} {credentials:?}");
        assert!(!shown.contains("s3cret"), "{shown}");

        let (url, _) = RemoteUrl::parse("https://t0ken@host.example/a").unwrap();
        assert_eq!(url.as_str(), "https://host.example/a");
        let (url, _) = RemoteUrl::parse("git@host.example:a/b.git").unwrap();
        assert_eq!(
            (url.as_str(), &*url.name()),
            ("git@host.example:a/b.git", "b")
        );
    }

    #[test]
    fn a_refused_url_is_told_without_its_secret() {
        let refused = RemoteUrl::parse("ftp://me:s3cret@host.example/a").unwrap_err();
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
        assert!(refused.to_string().contains("host.example"), "{refused}");
    }

    #[test]
    fn what_others_could_read_is_known() {
        let readable = |url: &str| RemoteUrl::parse(url).unwrap().0.is_readable_on_the_way();
        assert!(readable("http://host.example/a"));
        assert!(readable("http://127.0.0.1.host.example/a"));
        assert!(!readable("https://host.example/a"));
        assert!(!readable("http://127.0.0.1:8080/a"));
        assert!(!readable("http://localhost/a"));
    }

    #[test]
    fn urls_and_paths_are_told_apart() {
        for url in ["https://a/b", "file:///a", "git@host:a/b"] {
            assert!(RemoteUrl::looks_like(url), "{url}");
        }
        for path in [".", "/a/b", "a/b@c:d", "c:d"] {
            assert!(!RemoteUrl::looks_like(path), "{path}");
        }
    }
}
