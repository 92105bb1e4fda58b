"""What the whole-system tests stand on: the server, a receiver of webhooks, a raw client, pictures."""
