package stepenvs.engine;

import java.util.Arrays;
import scala.collection.mutable.FlatHashTable;
import scala.collection.mutable.HashSet;
import scienceworld.struct.EnvObject;

/**
 * The order in which a mutable hash set of Scala gives objects that all have the same hash.
 *
 * <p>The process runs with a constant identity hash, so that its sets have the same order every time. The price: every
 * object of a set collides with every other, and each {@code add} scans all that are in it. With a set built in every
 * room, container and step, that was two fifths of a step in the kitchen. But objects that collide lie in the table one
 * behind the other, so the order can be told without the scan:
 *
 * <ul>
 *   <li>they lie in the order in which they were added, from a slot that depends on nothing but the length of the table;
 *   <li>at the end of the table they go on at its beginning;
 *   <li>when the table grows, they are added anew, in the order in which they lay.
 * </ul>
 *
 * <p>Whether an object is in the set is a mark at its number: the engine calls objects equal if their numbers are.
 */
final class CollisionOrder {
    private static final int LARGEST_TABLE = 15; // 2^15 slots hold 14,745 objects; a whole world has about 600
    private static final int SMALLEST_TABLE = 5;
    private static final int HASH = System.identityHashCode(new Object());

    /** Binary logarithm of the table's length -> the slot where objects begin. */
    private static final int[] FIRST_SLOT = firstSlots();

    private EnvObject[] items = new EnvObject[16];
    private int size;
    private int tableLog;
    private int[] markOf = new int[1024];
    private int mark;

    CollisionOrder() {
        clear();
    }

    /** Fills a set with objects, and reads where they begin in each length of its table. */
    @SuppressWarnings("unchecked")
    private static int[] firstSlots() {
        if (System.identityHashCode(new int[0]) != HASH) {
            throw new IllegalStateException("the engine needs Java's option -XX:hashCode=2");
        }
        int[] slots = new int[LARGEST_TABLE + 1];
        FlatHashTable<Object> table = (FlatHashTable<Object>) (Object) new HashSet<Object>();
        int largest = 0;
        for (int i = 0; largest < LARGEST_TABLE; i++) {
            int log = Integer.numberOfTrailingZeros(table.table().length);
            if (log > largest) {
                slots[log] = table.index(HASH);
                largest = log;
            }
            table.addElem(i);
        }
        return slots;
    }

    static int firstSlot(int tableLog) {
        return FIRST_SLOT[tableLog];
    }

    /** How many objects a table is too small for. */
    static int threshold(int tableLog) {
        return (int) ((1L << tableLog) * 450 / 1000);
    }

    /** Binary logarithm of the length of the table that holds so many objects. */
    static int tableLogFor(int objects) {
        int log = SMALLEST_TABLE;
        while (objects >= threshold(log)) {
            log++;
        }
        return log;
    }

    void clear() {
        size = 0;
        tableLog = SMALLEST_TABLE;
        mark++;
    }

    /** Adds an object; returns false if it was there. */
    boolean add(EnvObject object) {
        int number = (int) object.uuid();
        if (number >= markOf.length) {
            markOf = Arrays.copyOf(markOf, Math.max(number + 1024, markOf.length * 2));
        } else if (markOf[number] == mark) {
            return false;
        }
        markOf[number] = mark;
        if (size == items.length) {
            items = Arrays.copyOf(items, size * 2);
        }
        items[size++] = object;
        if (size >= threshold(tableLog)) {
            toSlotOrder();
            tableLog++;
        }
        return true;
    }

    void addAll(EnvObject[] objects) {
        for (EnvObject object : objects) {
            add(object);
        }
    }

    /** Does what a copy of the set does to the order: all objects are added anew. */
    void copy() {
        EnvObject[] objects = inOrder();
        clear();
        addAll(objects);
    }

    /** Returns the objects in the set's order. Nothing may be added afterwards. */
    EnvObject[] inOrder() {
        toSlotOrder();
        return Arrays.copyOf(items, size);
    }

    /** Those that went over the end of the table come first. */
    private void toSlotOrder() {
        int over = FIRST_SLOT[tableLog] + size - (1 << tableLog);
        if (over > 0) {
            EnvObject[] turned = new EnvObject[items.length];
            System.arraycopy(items, size - over, turned, 0, over);
            System.arraycopy(items, 0, turned, over, size - over);
            items = turned;
        }
    }
}
