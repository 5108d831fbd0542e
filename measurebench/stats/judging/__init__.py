"""From numbers to words: adjustment for many measures, significance, power, judgements and claims."""
