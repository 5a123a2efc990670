"""The form in which a registered text model is read by MLflow's own loader."""
