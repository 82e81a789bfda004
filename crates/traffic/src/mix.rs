//! The tables that a line's fields are drawn from. An entry that is listed twice comes twice as often.

/// The end of a path, after its fixed part.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PathSuffix {
    /// Nothing.
    None,
    /// A number, for example of an article.
    Number,
    /// A query with page and session.
    Query,
}

/// One kind of request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) suffix: PathSuffix,
    /// Bytes of an answer, at most.
    pub(crate) size_max: u32,
}

const fn get(path: &'static str, suffix: PathSuffix, size_max: u32) -> Page {
    Page {
        method: "GET",
        path,
        suffix,
        size_max,
    }
}

const fn post(path: &'static str, suffix: PathSuffix, size_max: u32) -> Page {
    Page {
        method: "POST",
        path,
        suffix,
        size_max,
    }
}

pub(crate) const PAGES: [Page; 16] = [
    get("/", PathSuffix::None, 48_000),
    get("/news/article/", PathSuffix::Number, 90_000),
    get("/news/article/", PathSuffix::Number, 90_000),
    get("/catalog/items", PathSuffix::Query, 60_000),
    get("/catalog/items", PathSuffix::Query, 60_000),
    get("/catalog/item/", PathSuffix::Number, 30_000),
    get("/search", PathSuffix::Query, 20_000),
    get("/api/v2/orders/", PathSuffix::Number, 4_000),
    get("/api/v2/session", PathSuffix::Query, 900),
    get("/static/js/app.9f2c1d7e.js", PathSuffix::None, 310_000),
    get("/static/css/main.77ab0c12.css", PathSuffix::None, 70_000),
    get("/images/banner-", PathSuffix::Number, 200_000),
    get("/favicon.ico", PathSuffix::None, 1_500),
    post("/api/v2/cart", PathSuffix::Query, 600),
    post("/api/v2/events", PathSuffix::Query, 40),
    post("/login", PathSuffix::None, 700),
];

pub(crate) const STATUSES: [&str; 20] = [
    "200", "200", "200", "200", "200", "200", "200", "200", "200", "200", "200", "200", "200", "304", "304",
    "302", "206", "404", "404", "500",
];

pub(crate) const REFERERS: [&str; 8] = [
    "-",
    "-",
    "-",
    "https://www.example.com/",
    "https://www.example.com/catalog/items?page=2",
    "https://www.example.com/news/",
    "https://search.example.net/results?q=open+hours",
    "https://m.example.com/start",
];

pub(crate) const AGENTS: [&str; 8] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "okhttp/4.12.0",
    "curl/8.14.1",
    "Mozilla/5.0 (compatible; Examplebot/2.1; +https://www.example.org/bot.html)",
];
