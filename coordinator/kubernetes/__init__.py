"""Clusters whose nodes join by what their issuer says of them."""
