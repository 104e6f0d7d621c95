"""What the sub-commands of `lobes` share."""
