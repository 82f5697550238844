"""What a person sees: a Gradio workbench inside a FastAPI parent. Nothing under this package imports torch."""

from app.lean import prepare

prepare()
