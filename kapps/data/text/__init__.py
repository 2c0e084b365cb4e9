"""Texts as streams of symbols."""
