package stepenvs.engine;

/** Counts 64-bit hashes. Emptied by a number and not by clearing: it is filled twice a step, with thousands of hashes. */
final class HashCounts {
    private long[] keys = new long[1 << 14];
    private int[] counts = new int[1 << 14];
    private int[] filling = new int[1 << 14]; // in which filling a slot was used last
    private int present;
    private int used;

    void clear() {
        present++;
        used = 0;
    }

    void add(long hash) {
        int slot = slotOf(hash);
        if (filling[slot] != present) {
            use(slot, hash, 0);
            if (++used * 2 > keys.length) {
                grow();
                slot = slotOf(hash);
            }
        }
        counts[slot]++;
    }

    /** Returns how often a hash was added; it was at least once. */
    int count(long hash) {
        return counts[slotOf(hash)];
    }

    private int slotOf(long hash) {
        int last = keys.length - 1;
        int slot = (int) (hash ^ (hash >>> 32)) & last;
        while (filling[slot] == present && keys[slot] != hash) {
            slot = (slot + 1) & last;
        }
        return slot;
    }

    private void use(int slot, long hash, int count) {
        filling[slot] = present;
        keys[slot] = hash;
        counts[slot] = count;
    }

    private void grow() {
        long[] oldKeys = keys;
        int[] oldCounts = counts;
        int[] oldFilling = filling;
        int old = present;
        keys = new long[oldKeys.length * 2];
        counts = new int[keys.length];
        filling = new int[keys.length];
        present = 1;
        for (int i = 0; i < oldKeys.length; i++) {
            if (oldFilling[i] == old) {
                use(slotOf(oldKeys[i]), oldKeys[i], oldCounts[i]);
            }
        }
    }
}
