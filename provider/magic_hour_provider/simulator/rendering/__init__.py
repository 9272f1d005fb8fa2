"""Renders the media of simulated jobs: images, video and audio that say which job made them."""
