"""What every part stands on: errors, discovery of variants, folders that appear whole."""
