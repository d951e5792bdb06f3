"""From a configuration back to the network it holds, and what differs between two of them."""
