package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/edgeio/edgeio/proto/job"
)

// garching is the tree that R8's sample asks for.
func garching(t *testing.T) (*Tree, *Orchestrator, *Node) {
	t.Helper()
	tr := Plant(t, programs)
	c := tr.AddCluster("bavaria", "Garching")
	return tr, c, tr.AddNode(c, "e580")
}

// shell is a native job that runs a script; further lines are added to the file.
func shell(name, script string, more ...string) string {
	return fmt.Sprintf("api_version: v0.1\njob_name: %s\nimage: /bin/sh\nimage_runtime: native\nargs: [-c, %q]\n%s\n",
		name, script, strings.Join(more, "\n"))
}

const forever = "; exec sleep 100000"

func TestLifeOfAJob(t *testing.T) {
	t.Parallel()
	tr, _, _ := garching(t)
	r := tr.CtlWith(shell("hello", "echo hello; echo oops >&2"+forever), "deploy", "--wait", "-")
	if r.Code != 0 {
		t.Fatal(r)
	}
	id := strings.TrimSpace(r.Stdout)
	if s := tr.Job(id).State; s != job.Running {
		t.Errorf("it is %s", s)
	}
	if r := tr.Ctl("job", "terminate", "--wait", id); r.Code != 0 {
		t.Error(r)
	}
}
