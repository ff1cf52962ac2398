package stepenvs.engine;

import scala.collection.immutable.ListSet;
import scala.collection.immutable.ListSet$;
import scala.collection.mutable.FlatHashTable;
import scala.collection.mutable.HashSet;
import scienceworld.struct.EnvObject;

/**
 * Scala's sets of objects, read and made without comparing each object with all others.
 *
 * <p>They are the sets that the engine's own code would have made from the same objects in the same order, down to the
 * class: the engine goes on with them, and their order is the order of what it does.
 */
final class CollisionSets {
    private static final int SET_HASH = hashOfCollidingObjects();

    private CollisionSets() {}

    @SuppressWarnings("unchecked")
    private static int hashOfCollidingObjects() {
        FlatHashTable<Object> five = (FlatHashTable<Object>) (Object) new HashSet<Object>();
        for (int i = 0; i < 5; i++) {
            five.addElem(new Object());
        }
        Object immutable = ((HashSet<Object>) (Object) five).toSet();
        return ((scala.collection.immutable.HashSet.HashSetCollision1<?>) immutable).hash();
    }

    /** Returns the objects of a mutable hash set in its order. */
    static EnvObject[] objectsOf(Object mutableSet) {
        FlatHashTable<?> table = (FlatHashTable<?>) mutableSet;
        EnvObject[] objects = new EnvObject[table.tableSize()];
        int count = 0;
        if (objects.length > 0) {
            for (Object slot : table.table()) {
                if (slot != null) {
                    objects[count++] = (EnvObject) slot;
                }
            }
        }
        return objects;
    }

    /** Returns an immutable set of different objects: what {@code toSet} of a mutable set in this order gives. */
    @SuppressWarnings("unchecked")
    static scala.collection.immutable.Set<EnvObject> immutable(EnvObject[] o) {
        switch (o.length) {
            case 0:
                return scala.collection.immutable.Set$.MODULE$.empty();
            case 1:
                return new scala.collection.immutable.Set.Set1<>(o[0]);
            case 2:
                return new scala.collection.immutable.Set.Set2<>(o[0], o[1]);
            case 3:
                return new scala.collection.immutable.Set.Set3<>(o[0], o[1], o[2]);
            case 4:
                return new scala.collection.immutable.Set.Set4<>(o[0], o[1], o[2], o[3]);
            default:
                ListSet<EnvObject> list = (ListSet<EnvObject>) (Object) ListSet$.MODULE$.empty();
                for (EnvObject object : o) {
                    list = list.new Node(object); // adding would look for the object among all before it
                }
                Object set = new scala.collection.immutable.HashSet.HashSetCollision1<>(SET_HASH, list);
                return (scala.collection.immutable.Set<EnvObject>) set;
        }
    }

    /** Returns a mutable set in whose table different objects lie in this order. */
    @SuppressWarnings("unchecked")
    static scala.collection.mutable.Set<EnvObject> mutable(EnvObject[] objects) {
        int tableLog = CollisionOrder.tableLogFor(objects.length);
        Object[] slots = new Object[1 << tableLog];
        int first = CollisionOrder.firstSlot(tableLog);
        int over = Math.max(0, first + objects.length - slots.length);
        System.arraycopy(objects, 0, slots, 0, over);
        System.arraycopy(objects, over, slots, first, objects.length - over);
        Object set = new HashSet<EnvObject>();
        FlatHashTable<EnvObject> table = (FlatHashTable<EnvObject>) set;
        table.table_$eq(slots);
        table.tableSize_$eq(objects.length);
        table.threshold_$eq(CollisionOrder.threshold(tableLog));
        table.seedvalue_$eq(Integer.bitCount(slots.length - 1));
        return (scala.collection.mutable.Set<EnvObject>) set;
    }
}
