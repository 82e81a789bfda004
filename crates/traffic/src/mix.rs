//! What visitors ask for, and with what: the tables that lines are drawn from. An entry listed twice comes twice as often.

/// How a path goes on after its fixed part.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rest {
    /// Not at all.
    None,
    /// With a number, as of an article.
    Number,
    /// With a query of a page and a session.
    Query,
}

/// One kind of request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) rest: Rest,
    /// Bytes of an answer, at most.
    pub(crate) size_max: u32,
}

const fn get(path: &'static str, rest: Rest, size_max: u32) -> Page {
    Page {
        method: "GET",
        path,
        rest,
        size_max,
    }
}

const fn post(path: &'static str, rest: Rest, size_max: u32) -> Page {
    Page {
        method: "POST",
        path,
        rest,
        size_max,
    }
}

pub(crate) const PAGES: [Page; 16] = [
    get("/", Rest::None, 48_000),
    get("/news/article/", Rest::Number, 90_000),
    get("/news/article/", Rest::Number, 90_000),
    get("/catalog/items", Rest::Query, 60_000),
    get("/catalog/items", Rest::Query, 60_000),
    get("/catalog/item/", Rest::Number, 30_000),
    get("/search", Rest::Query, 20_000),
    get("/api/v2/orders/", Rest::Number, 4_000),
    get("/api/v2/session", Rest::Query, 900),
    get("/static/js/app.9f2c1d7e.js", Rest::None, 310_000),
    get("/static/css/main.77ab0c12.css", Rest::None, 70_000),
    get("/images/banner-", Rest::Number, 200_000),
    get("/favicon.ico", Rest::None, 1_500),
    post("/api/v2/cart", Rest::Query, 600),
    post("/api/v2/events", Rest::Query, 40),
    post("/login", Rest::None, 700),
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
