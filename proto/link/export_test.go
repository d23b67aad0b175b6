package link

// Buffered returns the bytes that count as unfinished messages.
func (s *Session) Buffered() int64 { return s.buffered.Load() }
