package api

// TermSize is the size of a terminal.
type TermSize struct {
	Columns uint32 `json:"columns"`
	Rows    uint32 `json:"rows"`
}
