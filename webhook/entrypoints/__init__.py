"""One file per way in which a job comes in: translate, call the pipeline, translate back."""
