"""Fresh exports of installed frameworks against what those frameworks compute; see CONTRIBUTING.md."""
