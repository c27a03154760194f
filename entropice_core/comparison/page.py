"""A page of headings, text, tables and figures, written as Markdown and as one HTML file that holds its figures."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;font-size:13px;margin:1rem 0;display:block;overflow-x:auto}"
    "th,td{border:1px solid #ccd3da;padding:.25rem .5rem;text-align:left}th{background:#eef3f7}"
    "img{max-width:100%}figcaption{color:#555;font-size:13px}"
)


@dataclass(frozen=True)
class Page:
    """Blocks in their order; each is written twice, as Markdown and as HTML."""

    title: str
    blocks: list[tuple[str, tuple[object, ...]]] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Begin a section."""
        self.blocks.append(("heading", (text,)))

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self.blocks.append(("text", (text,)))

    def items(self, lines: Sequence[str]) -> None:
        """Add a list."""
        self.blocks.append(("items", tuple(lines)))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Add a table."""
        self.blocks.append(("table", (tuple(header), *(tuple(row) for row in rows))))

    def figure(self, file: str, caption: str) -> None:
        """Add a figure that lies beside the page."""
        self.blocks.append(("figure", (file, caption)))

    def figures(self) -> list[str]:
        """Name the files of the figures."""
        return [str(content[0]) for kind, content in self.blocks if kind == "figure"]


def write_page(page: Page, folder: Path, stem: str) -> None:
    """Write ``<stem>.md`` and ``<stem>.html``."""
    markdown = "\n\n".join([f"# {page.title}", *(_markdown(kind, content) for kind, content in page.blocks)])
    (folder / f"{stem}.md").write_text(markdown + "\n", encoding="utf-8")
    body = "\n".join(_html(kind, content, folder) for kind, content in page.blocks)
    title = escape(page.title)
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    html = f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n<h1>{title}</h1>\n{body}\n</body></html>\n'
    (folder / f"{stem}.html").write_text(html, encoding="utf-8")


def _markdown(kind: str, content: tuple[object, ...]) -> str:
    if kind == "heading":
        return f"## {content[0]}"
    if kind == "items":
        return "\n".join(f"- {line}" for line in content)
    if kind == "figure":
        return f"![{content[1]}]({content[0]})"
    if kind == "table":
        header, *rows = _rows(content)
        lines = [header, ["---"] * len(header), *rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return str(content[0])


def _html(kind: str, content: tuple[object, ...], folder: Path) -> str:
    if kind == "heading":
        return f"<h2>{escape(str(content[0]))}</h2>"
    if kind == "items":
        return "<ul>" + "".join(f"<li>{escape(str(line))}</li>" for line in content) + "</ul>"
    if kind == "figure":
        png = b64encode((folder / str(content[0])).read_bytes()).decode("ascii")
        caption = escape(str(content[1]))
        picture = f'<img alt="{caption}" src="data:image/png;base64,{png}">'
        return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"
    if kind == "table":
        header, *rows = _rows(content)
        top = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        return f"<table><tr>{top}</tr>{body}</table>"
    return f"<p>{escape(str(content[0]))}</p>"


def _rows(content: tuple[object, ...]) -> list[list[str]]:
    return [[str(cell) for cell in row] for row in content if isinstance(row, tuple)]
