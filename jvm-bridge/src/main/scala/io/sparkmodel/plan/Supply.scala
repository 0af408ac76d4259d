// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.plan

import io.sparkmodel.call.{ModelCall, ScoreIf}
import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.catalyst.plans.logical._

/**
 * Looks for the result of a call in a plan that has made it already, and carries it up through the operators between.
 *
 * @param isAllowed whether a result that was found may be taken
 */
private class Supply(isAllowed: Attribute => Boolean) extends PredicateHelper {

  /** The plan that puts out the result, for all rows, or for those of the guard at least; None if it was not made. */
  def find(plan: LogicalPlan, call: PythonUDF, guard: Option[Expression]): Option[Supplied] = (plan match {
    case node: ArrowEvalPython => fromNode(node, call, guard)
    case project: Project => fromProject(project, call, guard)
    case union: Union => fromUnion(union, call, guard)
    case expand: Expand if Lineage.passes(expand, call.references ++ references(guard)) =>
      find(expand.child, call, guard).map(found => found.in(Lineage.withColumn(expand, found)))
    case join: Join =>
      Lineage.sideOf(join, call.references ++ references(guard)).flatMap { side =>
        find(side, call, guard).map(found => found.in(Lineage.withSide(join, side, found.plan)))
      }
    case Lineage.PassThrough(child) if covers(child, call, guard) =>
      find(child, call, guard).map(found => found.in(Lineage.over(plan, found.plan)))
    case _ => None
  }).filter(found => found.plan.outputSet.contains(found.value))

  private def fromNode(node: ArrowEvalPython, call: PythonUDF, guard: Option[Expression]): Option[Supplied] =
    node.udfs.indexWhere(made => isSame(made, call, node.child)) match {
      case at if at >= 0 && isAllowed(node.resultAttrs(at)) =>
        widened(node.udfs(at), guard, node.child).map { made =>
          Supplied(node.copy(udfs = node.udfs.updated(at, made)), node.resultAttrs(at))
        }
      case _ if covers(node.child, call, guard) =>
        find(node.child, call, guard).map(found => found.in(node.copy(child = found.plan)))
      case _ => None
    }

  /**
   * The call, made to score as well the rows that another operator asks for: with a wider guard, or without; None if
   * the other guard cannot be computed where this call is made.
   */
  private def widened(made: PythonUDF, guard: Option[Expression], child: LogicalPlan): Option[PythonUDF] =
    made.children.lastOption match {
      case Some(ScoreIf(own)) => guard match {
        case None => Some(made.copy(children = made.children.init))
        case Some(other) if implies(other, own) => Some(made)
        // rows that a filter has taken out before the other operator sees them must do no harm here
        case Some(other) if Calls.isHarmless(other) && other.references.subsetOf(child.outputSet) =>
          Some(made.copy(children = made.children.init :+ ScoreIf(Or(own, other))))
        case _ => None
      }
      case _ => Some(made)
    }

  /** Whether a condition is one of several, all of which are part of another; that may use the call's own result. */
  private def implies(condition: Expression, other: Expression): Boolean = {
    val parts = splitConjunctivePredicates(condition)
    splitConjunctivePredicates(other).forall(part => parts.exists(_.semanticEquals(part)))
  }

  private def fromProject(project: Project, call: PythonUDF, guard: Option[Expression]): Option[Supplied] =
    for {
      inner <- Lineage.through(project, call).collect { case Calls.Movable(inner) => inner }
      innerGuard <- guard.fold(Option(Option.empty[Expression]))(Lineage.through(project, _).map(Some(_)))
      found <- find(project.child, inner, innerGuard)
    } yield {
      val named = project.projectList.collectFirst {
        case same: AttributeReference if same.exprId == found.value.exprId => same
        case alias @ Alias(value: Attribute, _) if value.exprId == found.value.exprId => alias.toAttribute
      }
      named match {
        case Some(name) => Supplied(project.copy(child = found.plan), name)
        case None => found.in(Project(project.projectList :+ found.value, found.plan))
      }
    }

  /** All inputs must have it: in one place, else it is the new last column of each, and of the union. */
  private def fromUnion(union: Union, call: PythonUDF, guard: Option[Expression]): Option[Supplied] = {
    val found = union.children.map { child =>
      val names = union.output.map(_.exprId).zip(child.output).toMap
      def inChild(expression: Expression) = expression.transform { case a: AttributeReference => names(a.exprId) }
      Lineage.asCall(inChild(call)).flatMap(find(child, _, guard.map(inChild))).map(_ -> child.output)
    }
    def over(add: Supplied => Seq[NamedExpression]) =
      union.copy(children = found.flatten.map { case (one, output) => Project(output ++ add(one), one.plan) })
    if (found.exists(_.isEmpty) || union.byName) None
    else found.flatten.map { case (one, output) => output.indexWhere(_.exprId == one.value.exprId) }.distinct match {
      case Seq(place) if place >= 0 => Some(Supplied(over(_ => Nil), union.output(place)))
      case _ => // under a name of its own: what an input puts out already is no second column to Spark
        val wider = over(one => Seq(Alias(one.value, one.value.name)()))
        Some(Supplied(wider, wider.output.last))
    }
  }

  private def isSame(made: PythonUDF, call: PythonUDF, child: LogicalPlan): Boolean =
    ModelCall.handleOf(made).isDefined && {
      val plain = made.copy(children = made.children.filterNot(_.isInstanceOf[ScoreIf]))
      val (one, other) = (Calls.keyOf(plain), Calls.keyOf(call))
      one == other || (one.copy(arguments = Nil) == other.copy(arguments = Nil) &&
        Lineage.origin(Calls.argumentsOf(plain), child) == Lineage.origin(Calls.argumentsOf(call), child))
    }

  private def covers(child: LogicalPlan, call: PythonUDF, guard: Option[Expression]): Boolean =
    (call.references ++ references(guard)).subsetOf(child.outputSet)

  private def references(guard: Option[Expression]): AttributeSet = guard.fold(AttributeSet.empty)(_.references)
}
