"""What layouts share: slots, blocks and the steps between two remappings."""
