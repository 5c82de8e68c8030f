"""Provide the browser that pages are tested in: find one, or install Debian's.

tox runs this before the full suite. Tests take the browser from ``find_chromium``.
"""

import os
import shutil
import subprocess
import sys

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def find_chromium():
    """Return the path of a Chromium or Chrome, ``LOSSGAP_CHROMIUM`` first, or None."""
    candidates = (os.environ.get("LOSSGAP_CHROMIUM"), *NAMES)
    return next(filter(None, (shutil.which(name) for name in candidates if name)), None)


def install_chromium():
    """Install Debian's Chromium, quietly. Only root can."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "-qq", "-y", "--no-install-recommends", "install", "chromium"]
    for command in (["apt-get", "-qq", "update"], install):
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def main():
    """Find or install a browser; the exit status says whether there is one."""
    if not find_chromium() and shutil.which("apt-get") and os.geteuid() == 0:
        install_chromium()
    found = find_chromium()
    if not found:
        return (
            "Pages are tested in a real browser, and none was found. Install Chromium or Chrome, "
            "or set LOSSGAP_CHROMIUM to its path."
        )
    sys.stdout.write(f"browser: {found}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
