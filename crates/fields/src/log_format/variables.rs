//! nginx's variables: which of them are times, and which bytes the others can hold.
//!
//! Source: "Alphabetical index of variables" of nginx.org, and `ngx_http_log_escape` for the escaping. A variable that is not
//! listed may hold anything: it comes from a `map`, from a module, or from the client (`$http_…`, `$arg_…`, `$cookie_…`,
//! `$request`, `$remote_user`, `$host`, …).

use logferry_time_windows::TimestampFormat;

/// `escape=` of a `log_format`: how the bytes of variables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Escape {
    /// `"`, `\` and bytes outside of printable ASCII are `\xHH`.
    #[default]
    Default,
    /// `"` and `\` have a backslash before them; control characters are `\n`, `\u00HH`.
    Json,
    /// As they are.
    None,
}

/// The contents of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// A number, or `-`.
    Number,
    /// A word of the server: an address, a name, a protocol.
    Word,
    /// Several words of the server, with commas, colons and spaces between: the values of upstreams.
    Words,
    /// Any bytes, and perhaps of the client's choice.
    Text,
}

/// A variable that is a time of the server, of a fixed length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimeVariable {
    Local,
    Iso8601,
    Msec,
}

impl TimeVariable {
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "time_local" => Some(Self::Local),
            "time_iso8601" => Some(Self::Iso8601),
            "msec" => Some(Self::Msec),
            _ => None,
        }
    }

    /// Its length in bytes.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Local => "21/Nov/2026:08:20:03 +0600".len(),
            Self::Iso8601 => "2026-11-21T08:20:03+06:00".len(),
            // From September 2001 to November 2286.
            Self::Msec => "1795227603.123".len(),
        }
    }

    pub(crate) fn notation(self) -> TimestampFormat {
        match self {
            Self::Local => TimestampFormat::Nginx,
            Self::Iso8601 => TimestampFormat::Iso8601,
            Self::Msec => TimestampFormat::Epoch,
        }
    }

    /// Whether a time of nginx can hold the byte.
    pub(crate) fn can_hold(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || b"/:+-. ".contains(&byte)
    }
}

const NUMBERS: [&str; 17] = [
    "body_bytes_sent",
    "bytes_sent",
    "connection",
    "connection_requests",
    "connection_time",
    "connections_active",
    "gzip_ratio",
    "pid",
    "proxy_protocol_port",
    "proxy_protocol_server_port",
    "realip_remote_port",
    "remote_port",
    "request_length",
    "request_time",
    "server_port",
    "status",
    "tcpinfo_rtt",
];

const WORDS: [&str; 23] = [
    "hostname",
    "http2",
    "http3",
    "https",
    "limit_conn_status",
    "limit_req_status",
    "nginx_version",
    "pipe",
    "proxy_protocol_addr",
    "proxy_protocol_server_addr",
    "realip_remote_addr",
    "remote_addr",
    "request_completion",
    "request_id",
    // nginx refuses a method with other bytes than capital letters, `_` and `-`, and then the variable is empty.
    "request_method",
    "scheme",
    "server_addr",
    "server_name",
    // `HTTP/` and digits: nginx refuses anything else.
    "server_protocol",
    "ssl_cipher",
    "ssl_protocol",
    "ssl_session_reused",
    "upstream_cache_status",
];

const LISTS: [&str; 9] = [
    "upstream_addr",
    "upstream_bytes_received",
    "upstream_bytes_sent",
    "upstream_connect_time",
    "upstream_first_byte_time",
    "upstream_header_time",
    "upstream_response_length",
    "upstream_response_time",
    "upstream_status",
];

impl Content {
    pub(crate) fn of(name: &str) -> Self {
        if NUMBERS.contains(&name) {
            Self::Number
        } else if WORDS.contains(&name) {
            Self::Word
        } else if LISTS.contains(&name) {
            Self::Words
        } else {
            Self::Text
        }
    }

    /// Whether `byte` can be in the variable as it is written. In JSON a quote can, after a backslash; [`crate::log_format`]
    /// looks for quotes without one.
    pub(crate) fn can_hold(self, byte: u8, escape: Escape) -> bool {
        match (self, escape) {
            (Self::Number, _) => byte.is_ascii_digit() || b".-".contains(&byte),
            (Self::Word, _) => byte.is_ascii_alphanumeric() || b"._-:/+*~%\\".contains(&byte),
            (Self::Words, _) => byte.is_ascii_alphanumeric() || b"._-:/+*~%\\, []".contains(&byte),
            (Self::Text, Escape::Default) => (b' '..=b'~').contains(&byte) && byte != b'"',
            (Self::Text, Escape::Json) => byte >= b' ' && byte != b'"',
            (Self::Text, Escape::None) => true,
        }
    }
}
