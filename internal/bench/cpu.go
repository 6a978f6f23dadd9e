package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is CPU time, user and system, of the hub's process and of Postgres with all its children.
type usage struct{ hub, postgres time.Duration }

func (u usage) since(before usage) usage {
	return usage{hub: u.hub - before.hub, postgres: u.postgres - before.postgres}
}

// tick is what Linux counts CPU time in, as programs see it.
const tick = 10 * time.Millisecond

// usageOf reads /proc; where there is none, as on macOS, nothing is known and all is zero.
func usageOf(pid, postmaster int) (usage, error) {
	processes, err := readProcesses()
	if err != nil || len(processes) == 0 {
		return usage{}, err
	}
	u := usage{hub: processes[pid].own, postgres: processes[postmaster].own + processes[postmaster].ended}
	for _, p := range processes {
		if p.parent == postmaster {
			u.postgres += p.own
		}
	}
	return u, nil
}

// A process is one line of /proc/PID/stat.
type process struct {
	name   string
	parent int
	own    time.Duration // of itself
	ended  time.Duration // of its children that ended
}

func readProcesses() (map[int]process, error) {
	entries, err := os.ReadDir("/proc")
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read /proc: %w", err)
	}
	all := map[int]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		if p, ok := parseStat(string(stat)); ok {
			all[pid] = p
		}
	}
	return all, nil
}

// parseStat reads proc(5)'s stat: the name stands in parentheses and may hold anything.
func parseStat(stat string) (process, bool) {
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 15 {
		return process{}, false
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(fields[i])
		return n
	}
	return process{
		name: stat[open+1 : end], parent: number(1),
		own:   time.Duration(number(11)+number(12)) * tick,
		ended: time.Duration(number(13)+number(14)) * tick,
	}, true
}

// childNamed finds the child of that name; 0 where /proc cannot tell.
func childNamed(parent int, name string) (int, error) {
	processes, err := readProcesses()
	if err != nil || len(processes) == 0 {
		return 0, err
	}
	for pid, p := range processes {
		if p.parent == parent && p.name == name {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("the hub has no process %s of its own: is TRIBUTARY_DATABASE_URL set?", name)
}
