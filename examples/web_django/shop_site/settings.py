from __future__ import annotations

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "only an example"
DEBUG = False
ALLOWED_HOSTS = ["localhost", "testserver"]
INSTALLED_APPS = ["jobctl.contrib.django", "shop"]
MIDDLEWARE = ["jobctl.contrib.django.middleware.JobctlErrors"]
ROOT_URLCONF = "shop_site.urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
JOBCTL = {
    "CONFIG": os.environ.get("JOBCTL_CONFIG", BASE_DIR / "jobs.toml"),
    "ALLOW": "shop.views.allow",
    "REVOKE": True,
    "MAX_WAIT": 30,
}
