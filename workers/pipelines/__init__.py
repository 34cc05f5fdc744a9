"""The reference Celery pipelines of Runrelay."""
