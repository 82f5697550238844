"""The look: colours, type and spacing of every Gradio component, from system fonts and our own palette.

The palette is a cool slate with one teal accent. Text on its background keeps a contrast of at least 4.5 : 1 in both
modes (WCAG AA), which a test computes.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "theme"

SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Ubuntu", "Cantarell", "Noto Sans", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")

ACCENT = gr.themes.Color(
    name="accent",
    c50="#effaf9",
    c100="#d5f1ef",
    c200="#aee3df",
    c300="#7accc8",
    c400="#45aeab",
    c500="#26918f",
    c600="#0f7675",
    c700="#115f60",
    c800="#134c4e",
    c900="#143f41",
    c950="#062527",
)
SLATE = gr.themes.Color(
    name="slate",
    c50="#f7f9fb",
    c100="#eef2f6",
    c200="#dfe5ec",
    c300="#c6cfd9",
    c400="#93a1b1",
    c500="#667587",
    c600="#4b5969",
    c700="#364250",
    c800="#202a36",
    c900="#151d27",
    c950="#0d131b",
)

# What the page's own style sheet and Gradio's components share: name → (light, dark).
PALETTE = {
    "body_background_fill": ("#f4f6f9", "#0d131b"),
    "body_text_color": ("#18222e", "#e4eaf1"),
    "body_text_color_subdued": ("#55636f", "#9fadbc"),
    "background_fill_primary": ("#ffffff", "#151d27"),
    "background_fill_secondary": ("#f7f9fb", "#1a2430"),
    "border_color_primary": ("#d8dfe7", "#2b3744"),
    "block_background_fill": ("#ffffff", "#151d27"),
    "block_label_text_color": ("#364250", "#c6cfd9"),
    "block_title_text_color": ("#364250", "#c6cfd9"),
    "input_background_fill": ("#ffffff", "#0f161f"),
    "button_primary_background_fill": ("#0f7675", "#198180"),
    "button_primary_background_fill_hover": ("#115f60", "#157270"),
    "button_primary_text_color": ("#ffffff", "#ffffff"),
    "button_secondary_background_fill": ("#ffffff", "#202a36"),
    "button_secondary_background_fill_hover": ("#eef2f6", "#2b3744"),
    "button_secondary_text_color": ("#202a36", "#e4eaf1"),
    "color_accent_soft": ("#d5f1ef", "#134c4e"),
    "link_text_color": ("#0f6b6a", "#7accc8"),
}


class SynthScopeTheme(gr.themes.Base):
    """Gradio's plainest theme in our palette, with no font that would have to be fetched."""

    def __init__(self) -> None:
        super().__init__(
            primary_hue=ACCENT,
            secondary_hue=ACCENT,
            neutral_hue=SLATE,
            spacing_size=gr.themes.sizes.spacing_md,
            radius_size=gr.themes.sizes.radius_md,
            text_size=gr.themes.sizes.text_md,
            font=SANS,
            font_mono=MONO,
        )
        self.name = "synthscope"
        values = {}
        for name, (light, dark) in PALETTE.items():
            values[name] = light
            values[f"{name}_dark"] = dark
        super().set(
            **values,
            block_border_width="1px",
            block_shadow="none",
            block_label_background_fill="transparent",
            block_label_background_fill_dark="transparent",
            block_label_border_width="0",
            block_label_text_weight="600",
            block_title_text_weight="600",
            button_border_width="1px",
            button_primary_border_color="transparent",
            button_secondary_border_color="*border_color_primary",
            button_secondary_border_color_dark="*border_color_primary",
            button_large_text_weight="600",
            button_transition="background-color 120ms ease",
            input_border_width="1px",
            input_shadow="none",
            input_shadow_focus="0 0 0 3px *color_accent_soft",
            layout_gap="16px",
            table_border_color="*border_color_primary",
        )
