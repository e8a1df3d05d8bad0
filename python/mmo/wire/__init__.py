"""What travels: opcodes, messages, codec. Holds facts only; decides nothing."""
