"""The pages of a run as a reader meets them: opened in a real browser from the disk, clicked, searched, walked by
keyboard, narrow and dark; and the commands that read reports back (matrix, diff, baseline).

The runs are of the built-in model, in virtual time: what is judged here is how a result is told.
"""

import json
import re

import pytest

from programs import run

DEVIANT = "config-set-overwrites"
FAILED = {
    "config.set.refuses-when-present", "config.set.refuses-to-empty", "config.set.refuses-a-longer-one",
    "config.set.only-the-first-of-two",
}  # fmt: skip


@pytest.fixture(scope="module")
def good(aoe_conformance, tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    done = run([aoe_conformance, "run", "--model", "--allow", "config", "--report-dir", folder])
    assert done.returncode == 0, done
    return folder


@pytest.fixture(scope="module")
def bad(aoe_conformance, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    words = ["--model", "--deviant", DEVIANT, "--allow", "config", "--report-dir", folder]
    done = run([aoe_conformance, "run", *words])
    assert done.returncode == 1, done
    return folder


# -- the pages, in Chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for word in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    yield driver
    driver.quit()


def open_page(browser, path, fragment="", width=1400):
    browser.set_window_size(width, 1400)
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(f"file://{path}{fragment}")


def all_of(browser, css):
    return browser.find_elements("css selector", css)


def one_of(browser, css):
    return browser.find_element("css selector", css)


def rows(browser):
    return [row.get_attribute("id") for row in all_of(browser, "article.case")]


def nothing_went_wrong(browser, page):
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    asked = [
        message["params"]["request"]["url"]
        for message in (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert {url.split("#")[0] for url in asked} <= {f"file://{page}", "about:blank"}, "nothing but the page itself"


def test_the_page_tells_verdict_facts_and_failures_first(browser, bad):
    page = bad / "report.html"
    open_page(browser, page)
    assert one_of(browser, "#verdict").text.startswith("FAILED: 4 cases break a MUST")
    assert "MTU 1500" in one_of(browser, "#facts").text
    assert set(rows(browser)[:4]) == FAILED
    squares = all_of(browser, "#map a")
    report = json.loads((bad / "report.json").read_text())
    assert len(squares) == len(report["cases"])
    assert sum("v-fail" in square.get_attribute("class") for square in squares) == 4
    assert "3 cases" in one_of(browser, "#causes").text
    nothing_went_wrong(browser, page)


def test_filters_and_search_narrow_the_list(browser, bad):
    open_page(browser, bad / "report.html")
    one_of(browser, "[data-filter=fail]").click()
    assert set(rows(browser)) == FAILED
    assert one_of(browser, "[data-filter=fail]").get_attribute("aria-pressed") == "true"
    assert one_of(browser, "[data-filter=pass]").get_attribute("aria-pressed") == "false"
    assert re.match(r"4 of \d+ cases", one_of(browser, "#shown").text)
    one_of(browser, "#search").send_keys("longer")
    assert rows(browser) == ["config.set.refuses-a-longer-one"]
    one_of(browser, "[data-filter=fail]").click()
    one_of(browser, "#search").clear()
    one_of(browser, "#search").send_keys("no such thing anywhere")
    assert rows(browser) == [] and "No case fits" in one_of(browser, "#cases").text


def test_a_link_to_a_case_opens_it_with_its_frames(browser, bad):
    page = bad / "report.html"
    open_page(browser, page, "#config.set.refuses-when-present")
    case = one_of(browser, "article.case[id='config.set.refuses-when-present']")
    text = case.text
    for told in ("CFG-SET", "E set, error = 4", "E = 0, error = 0", "--case 'config.set.refuses-when-present'"):
        assert told in text, told
    marked = [row.text for row in case.find_elements("css selector", "tr.marked")]
    assert [re.sub(r"\s+", " ", row) for row in marked] == ["14 flags.E 0", "15 error 0 (none)"]
    assert [byte.text for byte in case.find_elements("css selector", ".hex b.marked")] == ["18", "00"]
    case.find_element("css selector", "details summary").click()
    frames = case.find_elements("css selector", ".flow > li > button")
    assert len(frames) >= 4
    frames[0].click()
    assert "eth.dst" in case.find_element("css selector", ".flow .frame").text
    nothing_went_wrong(browser, page)
    # Of a case that the filter hides, too.
    one_of(browser, "[data-filter=fail]").click()
    browser.execute_script("location.hash = '#header.tag.means-nothing'")
    assert "header.tag.means-nothing" in rows(browser)


def test_the_page_is_used_by_keyboard(browser, bad):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, bad / "report.html")
    body = one_of(browser, "body")
    body.send_keys("/")
    browser.switch_to.active_element.send_keys("config.set")
    assert browser.switch_to.active_element.get_attribute("id") == "search"
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert one_of(browser, "#search").get_attribute("value") == ""
    body.send_keys("j")
    body.send_keys("j")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert all_of(browser, "article.case .body"), "Enter opens the row"


@pytest.mark.parametrize("name", ["report.html", "matrix.html"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_a_narrow_window_light_and_dark(browser, bad, good, aoe_conformance, name, theme):
    page = bad / name
    if name == "matrix.html":
        run([aoe_conformance, "matrix", good / "report.json", bad / "report.json", "-o", page])
    open_page(browser, page, "" if name == "matrix.html" else "#config.set.refuses-when-present", width=500)
    if browser.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches") != (theme == "dark"):
        one_of(browser, "#theme").click()
    width = browser.execute_script("return document.documentElement.clientWidth")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width, "no sideways scrolling"
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(n) for n in re.findall(r"\d+", paper)[:3]) / 3
    assert (brightness < 100) == (theme == "dark"), paper


def test_a_printed_page_has_the_failures_open(browser, bad):
    open_page(browser, bad / "report.html")
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert {row.get_attribute("id") for row in all_of(browser, "article.case:has(.body)")} >= FAILED


def test_a_case_of_all_kinds_of_bytes_cannot_end_the_script(aoe_conformance, bad):
    page = (bad / "report.html").read_text()
    data = page[page.index('type="application/json">') :]
    assert data[: data.index("</script>")].count("<") == 0


# -- matrix, diff, baseline


@pytest.mark.parametrize("width", [1400, 400])
def test_a_row_for_each_clause_at_a_click_and_nothing_beside_the_window(browser, aoe_conformance, good, bad, tmp_path, width):
    page = tmp_path / "matrix.html"
    assert run([aoe_conformance, "matrix", good / "report.json", bad / "report.json", "-o", page]).returncode == 0
    open_page(browser, page, width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    families = len(browser.find_elements("css selector", "tbody.family"))
    browser.find_element("id", "rows").click()
    groups = browser.find_elements("css selector", "tbody.family button")
    assert len(groups) > families
    assert "CFG-SET (" in " ".join(group.text for group in groups)
    assert not browser.find_elements("css selector", "td.id"), "closed at first"
    next(group for group in groups if group.text.startswith("CFG-SET (")).click()
    shown = [cell.text.split()[0] for cell in browser.find_elements("css selector", "td.id")]
    assert "config.set.refuses-when-present" in shown
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    browser.find_element("id", "rows").click()
    assert len(browser.find_elements("css selector", "tbody.family")) == families


def test_the_matrix_shows_where_runs_differ(browser, aoe_conformance, good, bad, tmp_path):
    page = tmp_path / "matrix.html"
    done = run([aoe_conformance, "matrix", good / "report.json", bad / "report.json", "-o", page])
    assert (done.returncode, done.stderr) == (0, "")
    open_page(browser, page)
    one_of(browser, "[data-filter=fails]").click()
    shown = {row.get_attribute("id") for row in all_of(browser, "tbody tr[id]")}
    assert shown == FAILED
    cells = one_of(browser, "tr[id='config.set.refuses-to-empty']").text
    assert "pass" in cells and "fail" in cells
    one_of(browser, "[data-family=config]").click()
    assert all_of(browser, "tbody tr[id]") == [], "families fold"
    nothing_went_wrong(browser, page)


def test_diff_is_red_by_new_failures_only(aoe_conformance, good, bad):
    worse = run([aoe_conformance, "diff", good / "report.json", bad / "report.json"])
    assert worse.returncode == 1
    assert set(re.findall(r"^  (\S+): pass -> fail", worse.stdout, re.MULTILINE)) == FAILED
    better = run([aoe_conformance, "diff", bad / "report.json", good / "report.json", "--json"])
    assert better.returncode == 0
    told = json.loads(better.stdout)
    assert {one["id"] for one in told["mended"]} == FAILED and told["new_failures"] == []
    same = run([aoe_conformance, "diff", bad / "report.json", bad / "report.json"])
    assert (same.returncode, same.stdout.splitlines()[-1]) == (0, "0 new failures, 0 mended, 0 changed")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"schema": "aoe-conformance-report-2"}', '{"schema": "x"}'])
def test_what_is_no_report_is_named(aoe_conformance, good, tmp_path, content):
    wrong = tmp_path / "wrong.json"
    wrong.write_text(content)
    for words in (["diff", wrong, good / "report.json"], ["matrix", wrong, "-o", tmp_path / "m.html"]):
        done = run([aoe_conformance, *words])
        assert done.returncode == 2 and str(wrong) in done.stderr, done
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "m.html").exists()


def test_a_baseline_from_a_run_is_met_by_it_and_checked_later(aoe_conformance, good, bad, tmp_path):
    known = tmp_path / "known.toml"
    words = ["run", "--model", "--deviant", DEVIANT, "--allow", "config", "--quiet"]
    assert run([aoe_conformance, *words, "--write-baseline", known]).returncode == 2, "without a reason"
    reason = "old firmware, \"1.0\"; it's known"
    done = run([aoe_conformance, *words, "--write-baseline", known, "--reason", reason])
    assert done.returncode == 1
    assert run([aoe_conformance, *words, "--baseline", known]).returncode == 0
    assert run([aoe_conformance, "baseline", "check", known, bad / "report.json"]).returncode == 0
    stale = run([aoe_conformance, "baseline", "check", known, good / "report.json"])
    assert stale.returncode == 1 and stale.stdout.splitlines()[-1] == "4 of 4 rows are out of date"
    text = known.read_text()
    known.write_text(text.replace("verdict = 'fail'", "verdict = 'fail'\nexpires = 2020-02-29", 1))
    expired = run([aoe_conformance, *words, "--baseline", known])
    assert expired.returncode == 1 and "only until 2020-02-29" in expired.stdout
    assert run([aoe_conformance, "baseline", "check", known]).returncode == 1
    known.write_text(text.replace("verdict = 'fail'", "verdict = 'fail'\nexpires = 2999-12-31", 1))
    assert run([aoe_conformance, *words, "--baseline", known]).returncode == 0


def test_only_what_failed_is_run_again(aoe_conformance, good, bad, tmp_path):
    words = ["run", "--model", "--allow", "config", "--report-json", tmp_path / "again.json"]
    done = run([aoe_conformance, *words, "--retry-failed", bad / "report.json"])
    assert done.returncode == 0
    ran = {case["id"] for case in json.loads((tmp_path / "again.json").read_text())["cases"]}
    assert {name for name in ran if not name.startswith("run.")} == FAILED
    nothing = run([aoe_conformance, *words, "--retry-failed", good / "report.json"])
    assert nothing.returncode == 2 and "nothing failed" in nothing.stderr


# -- the text


def test_a_failure_is_at_most_a_screen_and_the_end_says_what_failed(aoe_conformance, bad):
    words = [aoe_conformance, "run", "--model", "--deviant", DEVIANT, "--allow", "config"]
    text = run(words).stdout
    block = text[text.index("fail [MUST] config.set.refuses-when-present") :]
    assert len(block[: block.index("\n\n")].splitlines()) <= 24
    assert "and for the same reason 2 more" in block
    end = text[text.rindex("\nfailed:") :]
    assert set(re.findall(r"^  fail +(\S+)$", end, re.MULTILINE)) == FAILED
    assert re.search(r"^config +\d+ +\d+ +4", end, re.MULTILINE), "a line for each family"
    assert end.splitlines()[-1].startswith("FAILED: 4 cases break a MUST")
    quiet = run([*words, "--quiet"]).stdout
    assert len(quiet.splitlines()) == 7
    brief = run([*words, "--brief"]).stdout
    assert "expected: E set, error = 4" in brief and "flags.E" not in brief
    assert len(quiet) < len(brief) < len(text) < len(run([*words, "--verbose"]).stdout)
    assert run([*words, "--brief", "--quiet"]).returncode == 2
