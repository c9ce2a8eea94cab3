//! The page for those whose request nobody may take.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Edit, EditError};
use crate::small_file::{self, Unread};

/// How long a page may be: 1 MiB.
const MOST: usize = 1 << 20;

/// What a page is, by the end of its file's name.
const TYPES: [(&str, &str); 4] = [
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("json", "application/json"),
    ("txt", "text/plain; charset=utf-8"),
];

/// A page for those whose request nobody may take. Clones share it.
/// ```
/// use lb_net::http::{Page, Settings};
/// let page = Page::new("text/html", "<h1>We are back in a minute.</h1>")?;
/// let settings = Settings::default().with_unavailable_page(Some(page));
/// assert_eq!(settings.unavailable_page.map(|page| page.body().len()), Some(33));
/// # Ok::<(), lb_net::http::EditError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Page {
    content_type: Edit,
    body: Arc<[u8]>,
    file: Option<PathBuf>,
}

/// Why a file cannot be a page.
/// ```
/// let error = lb_net::http::Page::read("/nowhere/503.html").unwrap_err();
/// assert_eq!(error.to_string(), "/nowhere/503.html: cannot be read");
/// assert_eq!(lb_net::http::Page::read("/").unwrap_err().to_string(), "/ is no file");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// It is not there, or not for us.
    #[error("{}: cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// It is a directory, a pipe or a device, or has no end.
    #[error("{} is no file", .0.display())]
    NoFile(PathBuf),
    /// A page has 1 MiB at most.
    #[error("{} is longer than 1 MiB", .0.display())]
    TooLong(PathBuf),
}

impl Page {
    /// A page of this type (RFC 9110 section 8.3).
    ///
    /// # Errors
    /// When the type is none that a field can have.
    pub fn new(content_type: &str, body: impl Into<Vec<u8>>) -> Result<Self, EditError> {
        let content_type = Edit::add("Content-Type", content_type)?;
        Ok(Self { content_type, body: body.into().into(), file: None })
    }

    /// The page in a file as it is now, of 1 MiB at most. Its type follows from the end of its name: `.html`, `.json` and
    /// `.txt` are what they say, anything else is `application/octet-stream`.
    ///
    /// # Errors
    /// When it cannot be read, or is too long.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, PageError> {
        let path = path.into();
        let unreadable = |error| PageError::Unreadable(path.clone(), error);
        let body = small_file::read(&path, MOST).map_err(|unread| match unread {
            Unread::Io(error) => unreadable(error),
            Unread::NoFile => PageError::NoFile(path.clone()),
            Unread::Large => PageError::TooLong(path.clone()),
        })?;
        let page = Self::new(type_of(&path), body).map_err(|error| unreadable(io::Error::other(error)))?;
        Ok(Self { file: Some(path), ..page })
    }

    /// What it is.
    #[must_use]
    pub fn content_type(&self) -> &str {
        self.content_type.value()
    }

    /// What clients get.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The file that it was read from.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    pub(super) fn parts(&self) -> (Edit, Arc<[u8]>) {
        (self.content_type.clone(), Arc::clone(&self.body))
    }
}

fn type_of(path: &Path) -> &'static str {
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    let known = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(end));
    known.map_or("application/octet-stream", |(_, content_type)| content_type)
}

/// Without what is in it, which may be long.
impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Page");
        shown.field("content_type", &self.content_type()).field("bytes", &self.body.len());
        shown.field("file", &self.file).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_says_what_it_is() {
        let rows = [
            ("/a/503.html", "text/html; charset=utf-8"),
            ("/a/503.HTM", "text/html; charset=utf-8"),
            ("/a.html/503.json", "application/json"),
            ("503.txt", "text/plain; charset=utf-8"),
            ("/a/html", "application/octet-stream"),
            ("/a/.html", "application/octet-stream"),
            ("/a/503.png", "application/octet-stream"),
            ("", "application/octet-stream"),
        ];
        for (path, expected) in rows {
            assert_eq!(type_of(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_page_has_a_mebibyte_and_no_byte_more() {
        let path = std::env::temp_dir().join(format!("lb-page-{}.html", std::process::id()));
        std::fs::write(&path, vec![b'x'; MOST]).unwrap();
        assert_eq!(Page::read(&path).unwrap().body().len(), MOST);
        std::fs::write(&path, vec![b'x'; MOST + 1]).unwrap();
        assert!(matches!(Page::read(&path), Err(PageError::TooLong(_))));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Page::read(std::env::temp_dir()), Err(PageError::NoFile(_))));
        assert!(Page::new("text/html\r\nX: y", "").is_err());
    }
}
