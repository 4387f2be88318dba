"""Run folders: settings, locks, journals of finished work, listing and tidying."""
