package fake

import (
	"strings"
	"time"

	"github.com/edgeio/edgeio/drivers"
)

// workload is one workload; its Host's lock guards it.
type workload struct {
	host    *Host
	spec    drivers.Spec
	script  Script
	phase   drivers.Phase
	started time.Time
	exit    drivers.Exit
	pid     int
	run     int // counts the runs, so that a timer of an earlier one does nothing
	next    int // step of the script
	timer   *time.Timer
	log     []entry
	removed bool
	changed signal
}

// entry is one line, or a part of one, of output.
type entry struct {
	at     time.Time
	stream drivers.Stream
	text   string
	begins bool // it begins a line
}

func (w *workload) start() {
	w.host.lastPID++
	w.pid = w.host.lastPID
	w.phase, w.started, w.exit = drivers.PhaseRunning, time.Now(), drivers.Exit{}
	w.run++
	w.next = 0
	w.changed.fire()
	w.advance()
}

// advance does all steps that are due, and sets the timer for the next.
func (w *workload) advance() {
	for w.next < len(w.script.Steps) {
		step := w.script.Steps[w.next]
		if step.After > 0 && w.timer == nil {
			run := w.run
			w.timer = time.AfterFunc(step.After, func() { w.fired(run) })
			return
		}
		w.timer = nil
		w.next++
		w.write(step.Stream, step.Text)
	}
	if w.script.Forever {
		return
	}
	w.end(drivers.Exit{Code: w.script.Code, OOMKilled: w.script.OOM})
}

func (w *workload) fired(run int) {
	w.host.mu.Lock()
	defer w.host.mu.Unlock()
	if w.run == run && w.phase == drivers.PhaseRunning {
		w.advance()
	}
}

func (w *workload) write(stream drivers.Stream, text string) {
	if stream == "" {
		stream = drivers.Stdout
	}
	begins := true
	for i := len(w.log) - 1; i >= 0; i-- {
		if w.log[i].stream == stream {
			begins = strings.HasSuffix(w.log[i].text, "\n")
			break
		}
	}
	for line := range strings.Lines(text) {
		w.log = append(w.log, entry{at: time.Now(), stream: stream, text: line, begins: begins})
		begins = true
	}
	w.changed.fire()
}

func (w *workload) end(exit drivers.Exit) {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	exit.At = time.Now()
	w.phase, w.exit, w.pid = drivers.PhaseExited, exit, 0
	w.changed.fire()
}

// signal delivers one that ends the workload unless its script says otherwise.
func (w *workload) signal(name string) {
	if w.phase != drivers.PhaseRunning {
		return
	}
	r, scripted := w.script.Signals[name]
	switch {
	case name == "SIGKILL" || !scripted:
		w.end(drivers.Exit{Code: 128 + signals[name]})
	case !r.Ignore:
		w.write(drivers.Stdout, r.Text)
		w.end(drivers.Exit{Code: r.Code})
	}
}

// signals are the numbers of the signals that Stop knows, as in signal(7).
var signals = map[string]int{
	"SIGHUP": 1, "SIGINT": 2, "SIGQUIT": 3, "SIGKILL": 9, "SIGUSR1": 10, "SIGUSR2": 12, "SIGTERM": 15,
}

// tail returns the index of the entry that begins the last n lines.
func (w *workload) tail(n int) int {
	if n < 0 {
		return 0
	}
	i := len(w.log)
	for lines := 0; i > 0 && lines < n; {
		i--
		if w.log[i].begins {
			lines++
		}
	}
	return i
}
