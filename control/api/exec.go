package api

// An exec is a WebSocket with this subprotocol. The client first sends an
// ExecStart as a text message; all other messages are binary, and their first
// byte says what the rest is.
const ExecSubprotocol = "v1.exec.edgeio"

// What the first byte of a binary message of an exec says.
const (
	ExecStdin  byte = 0 // client: input
	ExecEOF    byte = 1 // client: the input is at its end; no rest
	ExecResize byte = 2 // client: TermSize, JSON
	ExecStdout byte = 3 // server: output
	ExecStderr byte = 4 // server: output
	ExecResult byte = 5 // server, last message: ExecEnd, JSON
)

// MaxExecMessage bounds the messages of an exec, both ways.
const MaxExecMessage = 64 << 10

// ExecStart is the command to run.
type ExecStart struct {
	Command []string          `json:"command" minItems:"1" nullable:"false"`
	Env     map[string]string `json:"env,omitempty"`
	TTY     bool              `json:"tty,omitempty" doc:"Give the command a terminal; all output is then stdout"`
	Size    TermSize          `json:"size,omitzero" doc:"Of the terminal"`
}

// TermSize is the size of a terminal.
type TermSize struct {
	Columns uint32 `json:"columns"`
	Rows    uint32 `json:"rows"`
}

// ExecEnd is how it ended: with an exit code, or with a problem.
type ExecEnd struct {
	Code    int      `json:"code"`
	Problem *Problem `json:"problem,omitempty"`
}
