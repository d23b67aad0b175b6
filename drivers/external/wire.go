package external

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/edgeio/edgeio/drivers"
)

// Protocol is the version of the protocol that this package speaks.
const Protocol = 1

const (
	// maxFrame bounds a frame, so that a peer gone wild cannot eat the memory.
	maxFrame = 4 << 20
	// maxChunk is how much output or input goes into one frame.
	maxChunk = 64 << 10
)

// The calls.
const (
	callHello  = "hello"
	callProbe  = "probe"
	callCreate = "create"
	callStart  = "start"
	callStop   = "stop"
	callRemove = "remove"
	callStatus = "status"
	callWait   = "wait"
	callLogs   = "logs"
	callList   = "list"
	callExec   = "exec"
	callStats  = "stats"
	callWatch  = "watch"
)

// request is the first frame of a connection: what the agent wants.
type request struct {
	Call     string          `json:"call"`
	Protocol int             `json:"protocol,omitempty"`   // of the agent; hello
	Timeout  time.Duration   `json:"timeout_ns,omitempty"` // what is left of the deadline; 0: none
	Spec     *spec           `json:"spec,omitempty"`       // create
	Handle   *drivers.Handle `json:"handle,omitempty"`     // all that concern a workload
	Stop     *stopOptions    `json:"stop,omitempty"`
	Logs     *logOptions     `json:"logs,omitempty"`
	Exec     *execOptions    `json:"exec,omitempty"`
}

// input is a later frame of the agent. Exactly one field is set.
type input struct {
	Cancel   bool      `json:"cancel,omitempty"`    // the caller's context has ended; what there is of an answer is awaited for a while
	Stdin    *[]byte   `json:"stdin,omitempty"`     // for an exec; the next one follows stdin_taken
	StdinEnd bool      `json:"stdin_end,omitempty"` // no more of it
	Size     *termSize `json:"size,omitempty"`
}

// output is a frame of the driver. Exactly one field is set; Result or Error
// is the last frame of a connection.
type output struct {
	Progress   *drivers.Progress `json:"progress,omitempty"`    // create
	Log        *logEntry         `json:"log,omitempty"`         // logs
	Handle     *drivers.Handle   `json:"handle,omitempty"`      // list: one of them
	Stdout     *[]byte           `json:"stdout,omitempty"`      // exec
	Stderr     *[]byte           `json:"stderr,omitempty"`      // exec
	StdinTaken bool              `json:"stdin_taken,omitempty"` // exec: the next piece may come
	Changed    bool              `json:"changed,omitempty"`     // watch
	Result     *result           `json:"result,omitempty"`
	Error      *wireError        `json:"error,omitempty"`
}

// result is what a call returns, if it returns more than that it is done.
type result struct {
	Hello  *hello          `json:"hello,omitempty"`
	Info   *drivers.Info   `json:"info,omitempty"`
	Handle *drivers.Handle `json:"handle,omitempty"`
	Status *drivers.Status `json:"status,omitempty"`
	Exit   *drivers.Exit   `json:"exit,omitempty"`
	Stats  *drivers.Stats  `json:"stats,omitempty"`
	Code   *int            `json:"code,omitempty"`
}

// hello is the answer to the handshake.
type hello struct {
	Protocol int               `json:"protocol"` // the one that the driver speaks
	Name     string            `json:"name"`     // of the runtime
	Features []drivers.Feature `json:"features"` // as Probe had them when the program began
}

// text is a text of any bytes. In JSON it is a string, or {"base64": "…"} if
// it is not valid UTF-8.
type text string

type encodedText struct {
	Base64 *[]byte `json:"base64"`
}

func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return []byte(`{"base64":"` + base64.StdEncoding.EncodeToString([]byte(t)) + `"}`), nil
}

func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '{' {
		return json.Unmarshal(b, (*string)(t))
	}
	var e encodedText
	if err := json.Unmarshal(b, &e); err != nil {
		return err
	}
	if e.Base64 == nil {
		return errors.New(`want a text or {"base64": "…"}`)
	}
	*t = text(*e.Base64)
	return nil
}

// pair is a variable or a label. They are a list, as names need not be UTF-8.
type pair struct {
	Name  text `json:"name"`
	Value text `json:"value"`
}

func toPairs(m map[string]string) []pair {
	var out []pair
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, pair{text(name), text(m[name])})
	}
	return out
}

func fromPairs(pairs []pair) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		m[string(p.Name)] = string(p.Value)
	}
	return m
}

func toTexts(words []string) []text {
	var out []text
	for _, w := range words {
		out = append(out, text(w))
	}
	return out
}

func fromTexts(texts []text) []string {
	var out []string
	for _, t := range texts {
		out = append(out, string(t))
	}
	return out
}

// spec is drivers.Spec with texts that may have any bytes.
type spec struct {
	ID         text              `json:"id"`
	Generation uint64            `json:"generation"`
	Name       text              `json:"name,omitempty"`
	Image      image             `json:"image"`
	Command    []text            `json:"command,omitempty"`
	Args       []text            `json:"args,omitempty"`
	Env        []pair            `json:"env,omitempty"`
	Workdir    text              `json:"workdir,omitempty"`
	User       text              `json:"user,omitempty"`
	Resources  drivers.Resources `json:"resources"`
	Ports      []drivers.Port    `json:"ports,omitempty"`
	Devices    []drivers.Device  `json:"devices,omitempty"`
	Labels     []pair            `json:"labels,omitempty"`
}

type image struct {
	Reference text `json:"reference,omitempty"`
	Path      text `json:"path,omitempty"`
	SHA256    text `json:"sha256,omitempty"`
	Arch      text `json:"arch,omitempty"`
}

func toSpec(s drivers.Spec) *spec {
	return &spec{
		ID: text(s.ID), Generation: s.Generation, Name: text(s.Name),
		Image:   image{text(s.Image.Reference), text(s.Image.Path), text(s.Image.SHA256), text(s.Image.Arch)},
		Command: toTexts(s.Command), Args: toTexts(s.Args), Env: toPairs(s.Env),
		Workdir: text(s.Workdir), User: text(s.User), Resources: s.Resources, Ports: s.Ports, Devices: s.Devices, Labels: toPairs(s.Labels),
	}
}

func (s *spec) spec() drivers.Spec {
	return drivers.Spec{
		ID: string(s.ID), Generation: s.Generation, Name: string(s.Name),
		Image:   drivers.Image{Reference: string(s.Image.Reference), Path: string(s.Image.Path), SHA256: string(s.Image.SHA256), Arch: string(s.Image.Arch)},
		Command: fromTexts(s.Command), Args: fromTexts(s.Args), Env: fromPairs(s.Env),
		Workdir: string(s.Workdir), User: string(s.User), Resources: s.Resources, Ports: s.Ports, Devices: s.Devices, Labels: fromPairs(s.Labels),
	}
}

type stopOptions struct {
	Signal string        `json:"signal,omitempty"`
	Grace  time.Duration `json:"grace_ns"`
}

type logOptions struct {
	Follow bool      `json:"follow"`
	Tail   int       `json:"tail"` // negative: all
	Since  time.Time `json:"since,omitzero"`
}

type logEntry struct {
	Time   time.Time      `json:"time"`
	Stream drivers.Stream `json:"stream"`
	Data   []byte         `json:"data"`
}

type execOptions struct {
	Command []text `json:"command"`
	Env     []pair `json:"env,omitempty"`
	TTY     bool   `json:"tty,omitempty"`
	Stdin   bool   `json:"stdin,omitempty"` // there is input: stdin frames follow
}

type termSize struct {
	Columns uint16 `json:"columns"`
	Rows    uint16 `json:"rows"`
}

// readFrame reads one line of JSON into v. It returns io.EOF only between
// frames. What it does not know it leaves out, so that fields can be added.
func readFrame(r *bufio.Reader, v any) error {
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(long)+len(part) > maxFrame {
			return fmt.Errorf("a frame has more than %d bytes: %w", maxFrame, errMalformed)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			long = append(long, part...)
			continue
		case errors.Is(err, io.EOF) && len(long)+len(part) > 0:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
		if long != nil {
			part = append(long, part...)
		}
		if err := json.Unmarshal(part, v); err != nil {
			return fmt.Errorf("%w: %s in %q", errMalformed, err, clip(string(part), 80))
		}
		return nil
	}
}

// errMalformed is a peer that does not speak the protocol.
var errMalformed = errors.New("this is not the driver protocol")

// errTooLarge is a frame that this side must not send.
var errTooLarge = errors.New("too large for the driver protocol")

// clip shortens s for a message.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// encode returns v as a frame.
func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode a frame: %w", err)
	}
	if len(b) >= maxFrame {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", errTooLarge, len(b), maxFrame)
	}
	return append(b, '\n'), nil
}
