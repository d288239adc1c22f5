//! A back-test as one HTML page: tables, plots, differences; nothing outside of the file.
//!
//! Law: every text that comes from the log, the catalogue or a model is escaped.

use std::fmt::Write as _;

use super::alerts::{Difference, Figures, Shown};
use super::plot;
use super::report::{ModelReport, Report};
use super::text::{decisions, features, number, percent};

/// Differences on the page; the JSON has all.
const SHOWN: usize = 500;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;\
    color:#1d2430;background:#fff}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;\
    width:100%;margin:.6rem 0}th,td{text-align:right;padding:.25rem .6rem;border-bottom:1px solid #dde2ea}th:first-child,\
    td:first-child,td.word{text-align:left}.plots{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0}figcaption{\
    color:#56607a;font-size:.85rem}svg{max-width:100%;height:auto}svg text{font-size:11px;fill:#56607a}path{fill:none}\
    .axis{stroke:#aab3c5;stroke-width:1}.live{stroke:#8a93a6;stroke-width:2;stroke-dasharray:5 3}.new{stroke:#1f6feb;\
    stroke-width:2}.dot{fill:#1f6feb;fill-opacity:.55}.same{color:#1a7f37}.differs{color:#b35900}\
    .wide{overflow-x:auto}";

/// A text as HTML shows it, in elements and in attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// The page.
pub fn html(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'\"><title>Back-test</title><style>{STYLE}</style></head><body><h1>Back-test</h1>"
    );
    // Writing to a string cannot fail.
    write!(
        page,
        "<p>{} events of {} users; decisions from {} to {}; outcomes known until {}; catalogue {}; store {}.</p>",
        report.events,
        report.users,
        report.from,
        report.to,
        report.known_until,
        escaped(&report.catalog_version),
        escaped(&report.store)
    )
    .unwrap_or_default();
    for (is_same, line) in
        [(report.decisions.is_equal, decisions(report)), (report.features.differing == 0, features(report))]
    {
        let class = if is_same { "same" } else { "differs" };
        write!(page, "<p class=\"{class}\">{}</p>", escaped(&line)).unwrap_or_default();
    }
    for model in &report.models {
        section(&mut page, model);
    }
    differences(&mut page, &report.differences);
    page.push_str("</body></html>\n");
    page
}

fn section(page: &mut String, model: &ModelReport) {
    let (live, new) = (&model.sides.live, &model.sides.new);
    write!(
        page,
        "<h2>{} {}</h2><div class=\"wide\"><table><tr><th>side</th><th>version</th><th>alerts</th><th>users</th>\
         <th>per 1,000 users a year</th><th>mature</th><th>precision</th><th>conversions caught</th><th>recall</th>\
         <th>value</th></tr>{}{}</table></div>",
        escaped(&model.run.model),
        escaped(&model.version()),
        row("live", &model.live_versions(), live),
        row("new", &model.version(), new)
    )
    .unwrap_or_default();
    let (users, scores) = (&model.users, &model.scores);
    write!(
        page,
        "<p>Users with alerts: {} the same, {} changed, {} only live, {} only new. Budget: {:.0} alerts per 1,000 users a \
         year. New scores whose horizon has passed: {}; ROC AUC {}, average precision {}, Brier {}, calibration error {}; \
         not answered: {}.</p><div class=\"plots\">",
        users.same,
        users.changed,
        users.only_live,
        users.only_new,
        model.budget_per_thousand_users_per_year,
        scores.rows,
        number(scores.roc_auc, 4),
        number(scores.average_precision, 4),
        number(scores.brier, 4),
        number(scores.calibration_error, 4),
        model.unanswered
    )
    .unwrap_or_default();
    for (picture, caption) in [
        (plot::weeks(&live.weeks, &new.weeks), "Alerts by week: live (dashed) and new"),
        (plot::reliability(&scores.reliability), "New scores: said (across) against happened (up)"),
    ] {
        if !picture.is_empty() {
            write!(page, "<figure>{picture}<figcaption>{caption}</figcaption></figure>").unwrap_or_default();
        }
    }
    page.push_str("</div>");
}

fn row(side: &str, version: &str, figures: &Figures) -> String {
    format!(
        "<tr><td>{side}</td><td class=\"word\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
         <td>{} of {}</td><td>{}</td><td>{:.0}</td></tr>",
        escaped(version),
        figures.alerts,
        figures.users,
        number(figures.per_thousand_users_per_year, 1),
        figures.mature,
        percent(figures.precision),
        figures.caught,
        figures.conversions,
        percent(figures.recall),
        figures.value
    )
}

fn differences(page: &mut String, differences: &[Difference]) {
    if differences.is_empty() {
        page.push_str("<h2>Users whose alerts differ</h2><p>None.</p>");
        return;
    }
    write!(
        page,
        "<h2>Users whose alerts differ: {}</h2><div class=\"wide\"><table><tr><th>user</th><th>model</th><th>live</th>\
         <th>new</th></tr>",
        differences.len()
    )
    .unwrap_or_default();
    let shown = |alerts: &[Shown]| {
        let one =
            |alert: &Shown| format!("{} {:.4} {:?}", alert.scored_at, alert.probability, alert.priority);
        if alerts.is_empty() {
            "none".to_owned()
        } else {
            alerts.iter().map(one).collect::<Vec<_>>().join("<br>")
        }
    };
    for difference in differences.iter().take(SHOWN) {
        write!(
            page,
            "<tr><td>{}</td><td class=\"word\">{}</td><td>{}</td><td>{}</td></tr>",
            escaped(difference.user.as_str()),
            escaped(&difference.model),
            shown(&difference.live),
            shown(&difference.new)
        )
        .unwrap_or_default();
    }
    page.push_str("</table></div>");
    if differences.len() > SHOWN {
        write!(page, "<p>{} more are in the JSON.</p>", differences.len() - SHOWN).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn what_could_be_markup_is_text() {
        let text = "<script>alert(\"a\" & 'b')</script>";
        let shown = escaped(text);
        assert_eq!(shown, "&lt;script&gt;alert(&quot;a&quot; &amp; &#39;b&#39;)&lt;/script&gt;");
    }
}
