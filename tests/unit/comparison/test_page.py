"""A page says the same as Markdown and as HTML, and neither can be broken by what it says."""

from entropice_core.comparison.page import Page, write_page


def a_page():
    page = Page("A <study>")
    page.heading("Scores")
    page.text("Less than: 0 < 1 & more.")
    page.items(["one", "<script>alert(1)</script>"])
    page.table(("model", "AUC"), [("a|b", 0.5), ("c", "undefined")])
    page.figure("scores.png", "The scores")
    return page


def test_both_forms_hold_every_block(tmp_path):
    (tmp_path / "scores.png").write_bytes(b"\x89PNG")
    write_page(a_page(), tmp_path, "report")
    markdown, html = ((tmp_path / f"report.{kind}").read_text() for kind in ("md", "html"))
    assert (
        markdown.startswith("# A <study>\n")
        and "| a\\|b | 0.5 |" in markdown
        and "![The scores](scores.png)" in markdown
    )
    assert "<h1>A &lt;study&gt;</h1>" in html and "<td>a|b</td><td>0.5</td>" in html
    assert "<script>" not in html and "0 &lt; 1 &amp; more." in html


def test_the_html_holds_its_figures_and_names_no_other_file(tmp_path):
    (tmp_path / "scores.png").write_bytes(b"\x89PNG")
    write_page(a_page(), tmp_path, "report")
    html = (tmp_path / "report.html").read_text()
    assert "data:image/png;base64,iVBORw==" in html and 'src="scores.png"' not in html
