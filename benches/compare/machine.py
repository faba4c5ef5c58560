"""What the system says of the machine and of processes on it."""
import os
import platform
import time

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid):
    """Processor time of a process, its own and the system's for it, ended threads included."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * PAGE


def busy(seconds=0.5):
    """The share of all processors that something uses, while this waits."""
    def look():
        with open("/proc/stat") as stat:
            times = [int(time) for time in stat.readline().split()[1:]]
        return sum(times), times[3] + times[4]
    total, idle = look()
    time.sleep(seconds)
    total_after, idle_after = look()
    return round(1 - (idle_after - idle) / max(1, total_after - total), 2)


def describe():
    model = "unknown"
    with open("/proc/cpuinfo") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.release()}",
    }
