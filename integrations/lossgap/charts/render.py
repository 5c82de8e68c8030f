"""From a specification to a picture or a page, offline."""

import json
import re
from typing import Any, Final, Literal

from lossgap.charts import palette
from lossgap.charts.panels.base import Spec, config
from lossgap.errors import InvalidArgumentError
from lossgap.extras import require

Theme = Literal["light", "dark"]

VEGA_LITE: Final = "5.20"
"""Version of Vega-Lite that compiles the specifications here and in the page."""

PIXELS_PER_INCH: Final = 72

# As JSON writes them, but for line breaks and tabs; a backslash may itself be written so.
_CONTROL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:u00[01][0-9a-f]|[bf])|[\x7f\ufffe\uffff]")

LARGEST_SCALE: Final = 10.0


def to_png(
    spec: Spec, *, scale: float = 2.0, dpi: float | None = None, theme: Theme = "light"
) -> bytes:
    """Draw ``spec`` as a PNG picture.

    The picture has the theme's background: vl-convert blends translucent colours
    wrongly where there is none.

    Args:
        spec: A panel.
        scale: Pixels per unit of the specification.
        dpi: Dots per inch, instead of ``scale``: 300 for print. The file says so, too.
        theme: Colours of text and background.

    Raises:
        InvalidArgumentError: The picture would have no size, or an excessive one.
        MissingDependencyError: vl-convert-python isn't installed.
    """
    wanted = scale if dpi is None else dpi / PIXELS_PER_INCH
    if not 0 < wanted <= LARGEST_SCALE:
        raise InvalidArgumentError(
            f"Expected a scale above 0 and at most {LARGEST_SCALE:g} (that is "
            f"{LARGEST_SCALE * PIXELS_PER_INCH:g} dpi), got {wanted:g}."
        )
    themed = with_theme(spec, theme) | {"background": palette.PAGES[theme]}
    # A resolution scales the picture, too, relative to 72 dots per inch.
    size = {"scale": scale} if dpi is None else {"ppi": dpi}
    picture: bytes = require("vl_convert", extra="charts").vegalite_to_png(
        _json(themed), vl_version=VEGA_LITE, **size
    )
    return picture


def to_svg(spec: Spec, *, theme: Theme | None = None) -> str:
    """Draw ``spec`` as an SVG picture with a transparent background.

    Args:
        spec: A panel.
        theme: Colours of text; by default a grey for light and dark pages.

    Raises:
        MissingDependencyError: vl-convert-python isn't installed.
    """
    picture: str = require("vl_convert", extra="charts").vegalite_to_svg(
        _json(with_theme(spec, theme)), vl_version=VEGA_LITE
    )
    return picture


def to_vega(spec: Spec) -> dict[str, Any]:
    """Compile ``spec`` to Vega."""
    compiled: dict[str, Any] = require("vl_convert", extra="charts").vegalite_to_vega(
        _json(spec), vl_version=VEGA_LITE
    )
    return compiled


def storable(text: str) -> str:
    """Return ``text`` with "?" for lone surrogates, which neither a file nor a parser takes."""
    return text.encode("utf-8", "replace").decode()


def _json(spec: Spec) -> str:
    r"""Write ``spec`` for vl-convert, whose process ends at once at a ``\0`` in a text.

    No control character is allowed in SVG, so all of them are drawn as the sign for one that
    can't be.
    """
    text = storable(json.dumps(spec, ensure_ascii=False))
    return _CONTROL.sub("\\1\N{REPLACEMENT CHARACTER}", text)


def with_theme(spec: Spec, theme: Theme | None) -> Spec:
    """Return ``spec`` in the colours of ``theme``."""
    return spec if theme is None else spec | {"config": config(theme)}


def script() -> str:
    """Return the chart library as one script without outside addresses to load.

    Raises:
        MissingDependencyError: vl-convert-python isn't installed.
    """
    bundle: str = require("vl_convert", extra="charts").javascript_bundle(vl_version=VEGA_LITE)
    return for_script_element(bundle)


def for_script_element(source: str) -> str:
    r"""Return JavaScript that can stand in a script element: no ``</script`` or ``<!--`` in it."""
    return source.replace("</script", r"<\/script").replace("<!--", r"<\!--")


def data_for_script_element(value: object) -> str:
    """Return ``value`` as strict JSON that can stand in a script element, whatever text is in it.

    A layer called ``</script><script>alert(1)</script>`` stays text.

    Raises:
        ValueError: A number is NaN or infinite, which JSON can't say.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
