"""What scripts/evaluate_recipe.py and scripts/sweep.py share."""
