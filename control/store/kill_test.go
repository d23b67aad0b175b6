package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/edgeio/edgeio/control/store"
)

// writerEnv makes the test binary the process that TestKill kills.
const writerEnv = "EDGEIO_STORE_TEST_WRITER"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		fmt.Fprintln(os.Stderr, writeForEver(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForEver commits transactions of two keys each from several goroutines
// and prints the name of each once it is committed.
func writeForEver(path string) error {
	s, err := store.OpenBolt(path)
	if err != nil {
		return err
	}
	const writers = 4
	failed := make(chan error, writers)
	for w := range writers {
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
				err := s.Update(context.Background(), func(tx store.Tx) error {
					return errors.Join(tx.Put("left/"+name, make([]byte, i%3000)), tx.Put("right/"+name, nil))
				})
				if err != nil {
					failed <- err
					return
				}
				fmt.Println(name)
			}
		}()
	}
	return <-failed
}

func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	promised := map[string]bool{}
	for range 8 {
		for _, name := range runAndKill(t, path) {
			promised[name] = true
		}
		checkKilled(t, path, promised)
	}
	if len(promised) == 0 {
		t.Fatal("nothing was ever committed: the test has tested nothing")
	}
	t.Logf("%d transactions were confirmed before a kill", len(promised))
}

// runAndKill returns what the child has confirmed before its end.
func runAndKill(t *testing.T, path string) (names []string) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), writerEnv+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var killed sync.WaitGroup
	kill := time.Duration(20+rand.IntN(150)) * time.Millisecond
	killed.Go(func() {
		time.Sleep(kill) // the random moment
		if err := child.Process.Kill(); err != nil {
			t.Errorf("kill: %v", err)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		names = append(names, lines.Text())
	}
	killed.Wait()
	if err := child.Wait(); err == nil || child.ProcessState.Exited() {
		t.Fatalf("the child ended by itself: %v", child.ProcessState)
	}
	return names
}

func checkKilled(t *testing.T, path string, promised map[string]bool) {
	t.Helper()
	s := open(t, path)
	defer closeStore(t, s)
	err := s.View(t.Context(), func(tx store.Tx) error {
		for name := range promised {
			if _, err := tx.Get("left/" + name); err != nil {
				t.Errorf("confirmed transaction %s: %v", name, err)
			}
		}
		left, right := 0, 0
		err := errors.Join(
			tx.Scan("left/", func(key string, _ []byte) error {
				left++
				_, err := tx.Get("right/" + key[len("left/"):])
				return err
			}),
			tx.Scan("right/", func(string, []byte) error { right++; return nil }))
		if left != right {
			t.Errorf("%d left keys, %d right ones: a transaction is half there", left, right)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
