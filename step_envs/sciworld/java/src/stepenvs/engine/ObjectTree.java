package stepenvs.engine;

import java.util.ArrayList;
import java.util.List;
import scala.Option;
import scala.collection.immutable.Set;
import scienceworld.input.InputParser$;
import scienceworld.objects.electricalcomponent.PolarizedElectricalComponent;
import scienceworld.objects.electricalcomponent.UnpolarizedElectricalComponent;
import scienceworld.objects.portal.Portal;
import scienceworld.properties.ContainerProperties;
import scienceworld.struct.EnvObject;

/**
 * Walks through the tree of rooms, containers and things, in place of the engine's own walks.
 *
 * <p>Each public method takes the place of the engine's method of the same name; the engine's object is its first
 * argument. It adds the same objects to a set in the same order, oddities included (portals that are hidden count as
 * accessible, and those in the open do not), only that the set is a {@link CollisionOrder}.
 */
public final class ObjectTree {
    /** One order for each depth of a walk, used again and again: a walk makes hundreds. */
    private static final List<CollisionOrder> ORDERS = new ArrayList<>();

    private static int depth;

    private ObjectTree() {}

    /** Starts from depth 0: an exception in the middle of a walk leaves it deeper. */
    static void forgetUnfinishedWalks() {
        depth = 0;
    }

    private static CollisionOrder open() {
        if (depth == ORDERS.size()) {
            ORDERS.add(new CollisionOrder());
        }
        CollisionOrder order = ORDERS.get(depth++);
        order.clear();
        return order;
    }

    private static EnvObject[] close(CollisionOrder order) {
        depth--;
        return order.inOrder();
    }

    // The objects of one place

    public static Set<EnvObject> getPortals(EnvObject place, boolean includeHidden) {
        EnvObject[] portals = CollisionSets.objectsOf(place.portals());
        return CollisionSets.immutable(includeHidden ? portals : notHidden(portals));
    }

    public static Set<EnvObject> getContainedObjects(EnvObject place, boolean includeHidden) {
        EnvObject[] contained = CollisionSets.objectsOf(place.containedObjects());
        return CollisionSets.immutable(includeHidden ? contained : notHidden(contained));
    }

    public static Set<EnvObject> getContainedObjectsNotHidden(EnvObject place) {
        return getContainedObjects(place, false);
    }

    private static EnvObject[] notHidden(EnvObject[] objects) {
        CollisionOrder found = open();
        for (EnvObject object : objects) {
            if (!object.isHidden()) {
                found.add(object);
            }
        }
        return close(found);
    }

    private static EnvObject[] containedAndPortals(EnvObject place) {
        CollisionOrder found = open();
        found.addAll(CollisionSets.objectsOf(place.containedObjects()));
        found.addAll(CollisionSets.objectsOf(place.portals()));
        return close(found);
    }

    // The objects of a place and of all places inside it

    public static Set<EnvObject> getContainedObjectsAndPortalsRecursive(
            EnvObject place, boolean includeHidden, boolean includePortalConnections) {
        return CollisionSets.immutable(containedAndPortalsRecursive(place, includeHidden, includePortalConnections));
    }

    static EnvObject[] containedAndPortalsRecursive(EnvObject place, boolean hidden, boolean connections) {
        CollisionOrder found = open();
        CollisionOrder ends = open(); // the places that portals connect
        List<EnvObject> newEnds = new ArrayList<>();
        EnvObject[] contained = CollisionSets.objectsOf(place.containedObjects());
        for (EnvObject object : contained) {
            if (hidden || !object.isHidden()) {
                found.add(object);
            }
        }
        for (EnvObject object : CollisionSets.objectsOf(place.portals())) {
            if (hidden || !object.isHidden()) {
                found.add(object);
                if (connections) {
                    Portal portal = (Portal) object;
                    for (EnvObject end : new EnvObject[] {portal.connectsFrom(), portal.connectsTo()}) {
                        if (ends.add(end)) {
                            newEnds.add(end);
                        }
                    }
                }
            }
        }
        for (EnvObject object : contained) {
            if (hidden || !object.isHidden()) {
                EnvObject[] below = containedAndPortalsRecursive(object, hidden, connections);
                found.copy();
                found.addAll(below);
            }
        }
        found.copy();
        for (EnvObject end : newEnds) {
            found.add(end);
        }
        depth--;
        return close(found);
    }

    public static Set<EnvObject> getContainedAccessibleObjects(
            EnvObject place, boolean includeHidden, boolean includePortals) {
        return CollisionSets.immutable(accessible(place, includeHidden, includePortals));
    }

    private static EnvObject[] accessible(EnvObject place, boolean hidden, boolean portals) {
        CollisionOrder found = open();
        for (EnvObject object : CollisionSets.objectsOf(place.containedObjects())) {
            if (!hidden && object.isHidden()) {
                continue;
            }
            found.add(object);
            addTerminals(found, object, hidden);
            Option<ContainerProperties> container = object.propContainer();
            if (container.isDefined() && container.get().isOpen()) {
                found.addAll(accessible(object, hidden, portals));
            }
        }
        if (portals) {
            for (EnvObject portal : CollisionSets.objectsOf(place.portals())) {
                if (hidden || portal.isHidden()) {
                    found.add(portal);
                }
            }
        }
        return close(found);
    }

    private static void addTerminals(CollisionOrder found, EnvObject object, boolean hidden) {
        if (object instanceof PolarizedElectricalComponent) {
            PolarizedElectricalComponent component = (PolarizedElectricalComponent) object;
            found.add(component.anode());
            found.add(component.cathode());
        } else if (hidden || object instanceof UnpolarizedElectricalComponent) {
            if (object.terminal1().isDefined()) {
                found.add(object.terminal1().get());
            }
            if (object.terminal2().isDefined()) {
                found.add(object.terminal2().get());
            }
        }
    }

    // What the parser and the list of valid actions see

    public static scala.collection.mutable.Set<EnvObject> collectObjects(
            InputParser$ parser, EnvObject root, boolean includeHidden) {
        return CollisionSets.mutable(collect(root, includeHidden));
    }

    static EnvObject[] collect(EnvObject root, boolean hidden) {
        CollisionOrder found = open();
        addRootAndDoors(found, root, hidden);
        if (hidden || !root.isHidden()) {
            for (EnvObject object : containedAndPortals(root)) {
                found.addAll(collect(object, hidden));
            }
        }
        return close(found);
    }

    public static scala.collection.mutable.Set<EnvObject> collectAccessibleObjects(
            InputParser$ parser, EnvObject root, boolean includeHidden) {
        return CollisionSets.mutable(collectAccessible(root, includeHidden));
    }

    static EnvObject[] collectAccessible(EnvObject root, boolean hidden) {
        CollisionOrder found = open();
        addRootAndDoors(found, root, hidden);
        if (hidden || !root.isHidden()) {
            found.addAll(accessible(root, hidden, true));
        }
        return close(found);
    }

    /** Adds a place, its doors, and what is behind them. */
    private static void addRootAndDoors(CollisionOrder found, EnvObject root, boolean hidden) {
        if (hidden || !root.isHidden()) {
            found.add(root);
        }
        for (EnvObject portal : CollisionSets.objectsOf(root.portals())) {
            found.add(portal);
            Option<EnvObject> behind = ((Portal) portal).getConnectsTo(root);
            if (behind.isDefined()) {
                found.add(behind.get());
            }
        }
    }
}
