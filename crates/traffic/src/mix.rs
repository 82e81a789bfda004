//! The tables that a line's fields are drawn from. An entry that is listed twice comes twice as often.

#[derive(Debug, Clone, Copy)]
pub(crate) enum PathSuffix {
    None,
    Number,
    /// A query with page and session.
    Query,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) suffix: PathSuffix,
    /// Bytes of an answer, at most.
    pub(crate) size_max: u32,
}

const fn page(method: &'static str, path: &'static str, suffix: PathSuffix, size_max: u32) -> Page {
    Page {
        method,
        path,
        suffix,
        size_max,
    }
}

pub(crate) const PAGES: [Page; 16] = [
    page("GET", "/", PathSuffix::None, 48_000),
    page("GET", "/news/article/", PathSuffix::Number, 90_000),
    page("GET", "/news/article/", PathSuffix::Number, 90_000),
    page("GET", "/catalog/items", PathSuffix::Query, 60_000),
    page("GET", "/catalog/items", PathSuffix::Query, 60_000),
    page("GET", "/catalog/item/", PathSuffix::Number, 30_000),
    page("GET", "/search", PathSuffix::Query, 20_000),
    page("GET", "/api/v2/orders/", PathSuffix::Number, 4_000),
    page("GET", "/api/v2/session", PathSuffix::Query, 900),
    page("GET", "/static/js/app.9f2c1d7e.js", PathSuffix::None, 310_000),
    page("GET", "/static/css/main.77ab0c12.css", PathSuffix::None, 70_000),
    page("GET", "/images/banner-", PathSuffix::Number, 200_000),
    page("GET", "/favicon.ico", PathSuffix::None, 1_500),
    page("POST", "/api/v2/cart", PathSuffix::Query, 600),
    page("POST", "/api/v2/events", PathSuffix::Query, 40),
    page("POST", "/login", PathSuffix::None, 700),
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

pub(crate) const SERVICES: [&str; 5] = [
    "payment-service",
    "auth-service",
    "user-service",
    "order-service",
    "inventory-service",
];

// In messages, `#` stands for a number. None of them has a character that JSON, LTSV or a shell must escape.

pub(crate) const INFO_MESSAGES: [&str; 6] = [
    "Payment completed for order order_#",
    "User user_# logged in",
    "Order order_# placed with # items",
    "Session # started",
    "Stock of item # updated to #",
    "Request # answered in # ms",
];

pub(crate) const WARN_MESSAGES: [&str; 4] = [
    "Query took # ms",
    "Retry # of payment for order order_#",
    "Stock of item # is low",
    "Rate limit of user user_# nearly reached",
];

pub(crate) const ERROR_MESSAGES: [&str; 4] = [
    "Payment declined for order order_#",
    "Connection to database lost after # ms",
    "Order order_# failed, item # is not available",
    "Token of session # is not valid",
];

pub(crate) const DEBUG_MESSAGES: [&str; 3] = [
    "Cache hit for key item_#",
    "Worker # is idle",
    "Request # has # bytes",
];
