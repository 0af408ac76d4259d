// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.call

import org.apache.spark.sql.catalyst.expressions._
import org.apache.spark.sql.internal.SQLConf
import org.apache.spark.sql.types.{DataType, MapType, StructType}

/**
 * What a binding knows of a model.
 *
 * @param inputs None if the model has no signature, and knows no names itself
 * @param isOneTensor whether its only input is a tensor, which several columns may make up
 * @param isLikeMlflow whether columns go by position, whatever they are called
 */
case class Takes(
    name: String,
    inputs: Option[Seq[Input]],
    isOneTensor: Boolean = false,
    isLikeMlflow: Boolean = false)

/** The arguments of a call as they go to a model: with names that bind, or in the model's order. */
sealed trait Bound
case class Named(columns: Seq[(String, Expression)]) extends Bound
case class Positional(columns: Seq[Expression]) extends Bound

/**
 * Fits the arguments of a call to a model's inputs, by name where names exist.
 *
 * Names bind where the arguments are named (`a => x`), where the only one is a struct, and where all are columns with
 * names of the model's. Other calls go by position; one in which a column stands where the model takes another, and has
 * the name of a third, is refused. Python's twin is `names.py`.
 */
object Binding {

  def apply(model: Takes, arguments: Seq[Expression]): Bound = {
    val named = arguments.collect { case argument: NamedArgumentExpression => argument }
    if (named.nonEmpty && named.size < arguments.size) throw someNamed(model, named.map(_.key))
    if (named.nonEmpty) byName(model, named.map(argument => argument.key -> argument.value), isStrict = true)
    else arguments match {
      case Seq(struct: CreateNamedStruct) =>
        byName(model, struct.names.map(_.toString).zip(struct.valExprs), isStrict = false)
      case Seq(row) if row.dataType.isInstanceOf[StructType] && !isValue(model, row) => Positional(arguments)
      case _ if model.isLikeMlflow || model.isOneTensor => Positional(arguments)
      case _ => model.inputs.fold(unsigned(arguments))(ofList(model, _, arguments))
    }
  }

  private def someNamed(model: Takes, keys: Seq[String]): ModelAnalysisException = {
    val known = model.inputs.toSeq.flatten.flatMap(_.name)
    keys.find(key => known.nonEmpty && !known.exists(_.equalsIgnoreCase(key))).fold(
      mismatch(model, "some arguments are named and some are not", "name all of them")) { key =>
      mismatch(
        model, s"it has no input '$key', and ML_PREDICT no option", ModelAnalysisException.suggest(key, known ++ CallSettings.Keys))
    }
  }

  /** Whether a struct is the value of an input that has its name, rather than a row of all inputs. */
  private def isValue(model: Takes, argument: Expression): Boolean = {
    val isObject = (dataType: DataType) => dataType.isInstanceOf[StructType] || dataType.isInstanceOf[MapType]
    nameOf(argument).exists(name => model.inputs.toSeq.flatten.exists { input =>
      input.name.exists(known => Names.places(known, Seq(name)).nonEmpty) && input.dataType.forall(isObject)
    })
  }

  private def byName(model: Takes, values: Seq[(String, Expression)], isStrict: Boolean): Bound = model.inputs match {
    case Some(known) if known.forall(_.name.isDefined) && !model.isOneTensor =>
      val names = known.flatMap(_.name)
      if (isStrict) values.map(_._1).find(key => Names.places(key, names).size != 1).foreach { key =>
        throw mismatch(model, s"it has no input '$key'", ModelAnalysisException.suggest(key, names))
      }
      val found = known.map(input => input -> only(model, values, input.name.get))
      val row = Signatures.rowOf(values.map { case (name, value) => name -> value.dataType })
      if (found.forall(_._2.isEmpty) && Signatures.isObject(known, row)) Named(values)
      else {
        found.collectFirst { case (input, None) if input.required => input.name.get }.foreach { name =>
          throw missing(model, name, known, values.map(_._1).filter(_.nonEmpty))
        }
        Named(found.collect { case (input, Some(value)) => input.name.get -> value })
      }
    case Some(known) if !model.isOneTensor && !isStrict && known.size == values.size => Positional(values.map(_._2))
    case _ => Named(values)
  }


  private def only(model: Takes, values: Seq[(String, Expression)], name: String): Option[Expression] =
    Names.places(name, values.map(_._1)) match {
      case Seq() => None
      case Seq(at) => Some(values(at)._2)
      case _ => throw mismatch(
          model, s"column '$name' is there twice", s"name the one, as in ${model.name}($name => t.$name, ...)")
    }

  /** Of a model without names of its own, which has those of the call; an array alone it takes as it is. */
  private def unsigned(arguments: Seq[Expression]): Bound = {
    val names = arguments.flatMap(nameOf)
    val isOne = arguments.size == 1 && Signatures.isRowOfNumbers(arguments.head.dataType)
    if (arguments.isEmpty || names.distinct.size < arguments.size || isOne) Positional(arguments)
    else Named(names.zip(arguments))
  }

  private def ofList(model: Takes, inputs: Seq[Input], arguments: Seq[Expression]): Bound = {
    val known = inputs.flatMap(_.name)
    if (known.size < inputs.size) Positional(arguments)
    else {
      val exact = arguments.map(nameOf(_).toSeq.flatMap(Names.exact(_, known)))
      val all = if (exact.forall(_.nonEmpty)) exact else arguments.map(nameOf(_).toSeq.flatMap(Names.places(_, known)))
      val found = all.map { case Seq(at) => Some(at); case _ => None }
      val places = found.flatten
      if (places.isEmpty || places.distinct.size < places.size) Positional(arguments)
      else if (places.size == arguments.size) {
        inputs.indices.find(i => inputs(i).required && !places.contains(i)).foreach { i =>
          throw missing(model, known(i), inputs, places.map(known))
        }
        Named(places.zip(arguments).sortBy(_._1).map { case (at, argument) => known(at) -> argument })
      } else {
        found.zipWithIndex.collectFirst { case (Some(at), i) if at != i => (at, i) }.foreach { case (at, i) =>
          throw mismatch(
            model,
            s"column '${known(at)}' is input ${at + 1} of the model by its name, and argument ${i + 1} of the call by " +
              "its position",
            s"name the arguments, as in ${model.name}(${known.head} => ...), or pass struct(*)")
        }
        Positional(arguments)
      }
    }
  }

  private def nameOf(argument: Expression): Option[String] = argument match {
    case field: GetStructField => field.name
    case column: NamedExpression if column.resolved => Some(column.name)
    case _ => None
  }

  private[call] def missing(
      model: Takes, name: String, inputs: Seq[Input], names: Seq[String]): ModelAnalysisException =
    mismatch(
      model,
      s"column '$name' is missing; the model takes (${inputs.mkString(", ")}), given are " +
        names.mkString("['", "', '", "']"),
      ModelAnalysisException.suggest(name, names, Some(s"give a column of the name '$name'")))

  private[call] def mismatch(model: Takes, fact: String, hint: String): ModelAnalysisException =
    ModelAnalysisException("SCHEMA_MISMATCH", s"Cannot call model '${model.name}'", fact, hint)
}

/** Names among others, by the session's rule. */
private[call] object Names {
  def exact(name: String, names: Seq[String]): Seq[Int] = names.indices.filter(names(_) == name)

  /** Where a name is: the equal ones; if there are none, those that differ in case only, unless the session tells these apart. */
  def places(name: String, names: Seq[String]): Seq[Int] = exact(name, names) match {
    case Seq() if !SQLConf.get.caseSensitiveAnalysis => names.indices.filter(names(_).equalsIgnoreCase(name))
    case found => found
  }
}
