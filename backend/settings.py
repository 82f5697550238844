"""All settings of an installation, typed: environment variable, then settings file, then default.

Every field can be set as ``SYNTHSCOPE_<FIELD>`` or as a key of ``settings.toml`` in the home folder.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

MIB = 1024 * 1024


def default_home() -> Path:
    """The folder that holds everything an installation keeps: database, artifacts, uploads, logs, user weights."""
    return Path(os.environ.get("SYNTHSCOPE_HOME") or user_data_path("synthscope", appauthor=False))


class Settings(BaseSettings):
    """One installation's settings. Sizes are in MiB or counts as their names say; paths are absolute once read."""

    model_config = SettingsConfigDict(env_prefix="SYNTHSCOPE_", extra="forbid")

    home: Path = Field(default_factory=default_home, description="Folder of database, artifacts, logs, user weights.")
    database_url: str = Field(default="", description="SQLAlchemy URL; empty means SQLite in the home folder.")
    host: str = Field(default="127.0.0.1", description="Address to bind; anything but loopback needs an account.")
    port: int = Field(default=7860, ge=0, le=65535, description="TCP port; 0 lets the system choose.")
    slide_roots: list[Path] = Field(default_factory=list, description="Folders whose slides may be opened by path.")
    data_roots: list[Path] = Field(default_factory=list, description="Folders whose clips may be trained on by path.")
    data: Path | None = Field(default=None, description="Folder of benchmark data, laid out as the README says.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="Where models run.")
    compile_models: bool = Field(default=False, description="Wrap loaded networks in torch.compile.")
    weights_budget_mib: int = Field(default=4096, ge=1, description="Memory that loaded networks may hold a device.")
    job_engine: Literal["local"] = Field(default="local", description="Engine that runs jobs.")
    job_workers: int = Field(default=1, ge=1, le=64, description="Jobs that run at once on one device.")
    tile_cache_mib: int = Field(default=256, ge=1, description="Memory for slide tiles, encoded and decoded.")
    open_slides: int = Field(default=10, ge=1, description="Slides kept open at once.")
    max_upload_mib: int = Field(default=2048, ge=1, description="Largest file that may be uploaded.")
    max_pixels: int = Field(default=400_000_000, ge=1, description="Most pixels of one decoded image or volume.")
    max_frames: int = Field(default=4000, ge=1, description="Most frames of one clip.")
    max_decompression_ratio: int = Field(default=2000, ge=1, description="Most decoded bytes per stored byte.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")
    log_format: Literal["plain", "json"] = Field(default="plain", description="Form of a log line.")

    @property
    def sqlalchemy_url(self) -> str:
        """The database to use: the one set, or SQLite in the home folder."""
        return self.database_url or f"sqlite:///{self.home / 'synthscope.sqlite3'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of precedence: arguments, environment, ``settings.toml`` in the home folder, defaults."""
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, toml_file=default_home() / "settings.toml"),
        )


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
